/** Dedupe where the broker keeps no keys and the result store does. */
import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { PublishError } from '../core/errors.js';
import type { SendKeyStore, SendKeySwap } from '../core/send-keys.js';
import { encodeTaskMessage } from '../wire/task-message.js';
import type { Broker, OutgoingMessage, PublishResult } from './broker.js';
import { publishOnce } from './send-once.js';

describe('dedupe through the result store', () => {
  const dedupe = { key: 'k', ttlMs: 60_000 };
  const message = (id: string, more: Partial<OutgoingMessage> = {}): OutgoingMessage => ({
    to: { queue: 'q' },
    message: encodeTaskMessage({ task: 't', id, args: [], kwargs: {} }, { nowMs: 0 }),
    dedupe,
    ...more,
  });
  const failure = (outcome: 'not-sent' | 'unknown'): PublishError => new PublishError('E_PUBLISH_TIMEOUT', 'late', { outcome });

  function setUp(answer: (id: string) => PublishResult | Promise<PublishResult> = () => null) {
    const sent: string[] = [];
    const keys = new Map<string, string>();
    const broker = {
      name: 'scripted',
      capabilities: { dedupe: 'it has no place for keys' },
      publish: async (messages: readonly OutgoingMessage[]) => {
        const results: PublishResult[] = [];
        for (const each of messages) {
          expect(each).not.toHaveProperty('dedupe');
          const id = String(each.message.headers.id);
          const result = await answer(id);
          if (result === null) sent.push(id);
          results.push(result);
        }
        return results;
      },
    } as unknown as Broker;
    const store = {
      name: 'scripted',
      capabilities: { sendKeys: true },
      swapSendKey: async ({ key, expected, value }: SendKeySwap) => {
        const there = keys.get(key) ?? null;
        if (there !== expected) return there ?? '';
        if (value === null) keys.delete(key);
        else keys.set(key, value);
        return null;
      },
    } as unknown as SendKeyStore;
    const publish = (messages: readonly OutgoingMessage[], timeoutMs = 5_000): Promise<readonly PublishResult[]> =>
      publishOnce(broker, async () => store, messages, { timeoutMs });
    return { sent, keys, broker, store, publish };
  }

  test('one of many that come at once is sent, and the others hear its id once it has arrived', async () => {
    let arrive = (): void => {};
    const arrived = new Promise<void>((resolve) => (arrive = resolve));
    const { sent, keys, publish } = setUp(() => arrived.then(() => null));
    const sends = [publish([message('a'), message('b')]), publish([message('c')])];
    await expect.poll(() => keys.get('k')).toMatch(/^p[abc]$/);
    arrive();
    const results = (await Promise.all(sends)).flat();
    expect(sent).toHaveLength(1);
    expect(results.filter((result) => result === null)).toHaveLength(1);
    for (const result of results) if (result) expect(result).toMatchObject({ code: 'E_DUPLICATE_SEND', existingId: sent[0] });
    expect(keys.get('k')).toBe(`s${sent[0]}`);
  });

  test('messages without a key go straight to the broker', async () => {
    const { sent, keys, publish } = setUp();
    const { dedupe: _key, ...plain } = message('plain');
    expect(await publish([plain, message('a'), message('b')])).toMatchObject([null, null, { existingId: 'a' }]);
    expect(sent.sort()).toEqual(['a', 'plain']);
    expect(keys.size).toBe(1);
  });

  test('a send that certainly failed leaves no key: the next one goes out', async () => {
    const { sent, keys, publish } = setUp((id) => (id === 'a' ? failure('not-sent') : null));
    expect(await publish([message('a')])).toMatchObject([{ code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent' }]);
    expect(keys.size).toBe(0);
    expect(await publish([message('b')])).toEqual([null]);
    expect(sent).toEqual(['b']);
  });

  test('a send that may have arrived keeps its key from others, and is itself sent again', async () => {
    let tries = 0;
    const { sent, keys, publish } = setUp((id) => (id === 'a' && tries++ === 0 ? failure('unknown') : null));
    expect(await publish([message('a')])).toMatchObject([{ outcome: 'unknown' }]);
    expect(await publish([message('b')])).toMatchObject([{ code: 'E_DUPLICATE_SEND', existingId: 'a' }]);
    expect(await publish([message('a')])).toEqual([null]);
    expect(keys.get('k')).toBe('sa');
    expect(await publish([message('a')])).toEqual([null]);
    expect(sent).toEqual(['a']);
  });

  test('that a repetition was not sent proves nothing of the try before it: the key stays', async () => {
    const outcomes = [failure('unknown'), failure('not-sent')];
    const { keys, publish } = setUp(() => outcomes.shift() ?? null);
    await publish([message('a')]);
    await publish([message('a')]);
    expect(keys.get('k')).toBe('ua');
  });

  test('a send that waits for another in vain was not sent, and says why', async () => {
    const { keys, sent, publish } = setUp();
    keys.set('k', 'psomebody');
    const [result] = await publish([message('a')], 200);
    expect(result).toMatchObject({ code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent', taskId: 'a' });
    expect(sent).toEqual([]);
  });

  test('an abort ends those that wait, and leaves no listener behind', async () => {
    const { keys, broker, store } = setUp();
    keys.set('k', 'psomebody');
    const controller = new AbortController();
    const messages = Array.from({ length: 50 }, (_, at) => message(`m${at}`));
    const work = publishOnce(broker, async () => store, messages, { timeoutMs: 60_000, signal: controller.signal });
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort(new Error('enough'));
    for (const result of await work) expect(result).toMatchObject({ code: 'E_PUBLISH_FAILED', outcome: 'not-sent' });
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test('a store that nobody else sees is refused, and so is one that is away', async () => {
    const { broker, store, sent } = setUp();
    const alone = { ...store, name: 'rpc', capabilities: { sendKeys: 'it keeps nothing' } } as unknown as SendKeyStore;
    const [refused] = await publishOnce(broker, async () => alone, [message('a')], { timeoutMs: 1_000 });
    expect(refused).toMatchObject({ code: 'E_CONFIG_CONFLICT', outcome: 'not-sent', taskId: 'a' });
    expect(refused?.message).toMatch(/no place for keys.*rpc: it keeps nothing/);
    const away = { ...store, swapSendKey: () => new Promise<string>(() => {}) } as unknown as SendKeyStore;
    const [late] = await publishOnce(broker, async () => away, [message('b')], { timeoutMs: 100 });
    expect(late).toMatchObject({ code: 'E_PUBLISH_TIMEOUT', outcome: 'not-sent', taskId: 'b' });
    expect(sent).toEqual([]);
  });
});
