/** Chords that a worker ends because they are overdue, and dies over it: the next one does what is missing. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BrokerError } from '../../../core/errors.js';
import { silentLogger } from '../../../core/logger.js';
import { openFileResults } from '../../../results/file/index.js';
import type { ResultStore } from '../../../results/result-store.js';
import { createFakeClock } from '../../../testing/fake-clock.js';
import { encodeJson } from '../../../wire/serializers/json.js';
import { makeSignature } from '../../../wire/signature.js';
import { ResultForm } from '../result-write.js';
import { Chords, type ChordsOptions } from './chords.js';

let folder: string;
let store: ResultStore;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-overdue-'));
  store = await openFileResults({ url: `file:${join(folder, 'results.db')}`, logger: silentLogger, role: 'engine' });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

/** As a worker has it; resolves with the tasks that it sends while it looks once. */
async function lookOnce(send: 'dies' | 'sends'): Promise<string[]> {
  const clock = createFakeClock(Date.now());
  const sent: string[] = [];
  let done = (): void => {};
  const looked = new Promise<void>((resolve) => {
    done = resolve;
  });
  const chordStore = store.chords;
  if (!chordStore) throw new Error('no chords');
  const asSeen: ResultStore = {
    ...{ name: store.name, capabilities: store.capabilities },
    set: (writes) => store.set(writes),
    get: (ids) => store.get(ids),
    // who died over it holds it for some seconds more
    swapSendKey: async (change) =>
      change.key.startsWith('chord-overdue:') ? null : ((await store.swapSendKey?.(change)) ?? null),
    chords: {
      ...chordStore,
      close: async (groupIds) => {
        await chordStore.close(groupIds);
        done();
      },
    },
  } as ResultStore;
  const options: ChordsOptions = {
    ...{ store: asSeen, clock, logger: silentLogger, resultTtlMs: 60_000 },
    results: new ResultForm({ clock, resultTtlMs: 60_000, extendedResults: false, nodeName: 'w' }),
    messagesOf: (plan) => plan.tasks.map(({ signature }) => ({ to: { queue: signature.task } })) as never,
    send: async (messages) => {
      if (send === 'dies') {
        setImmediate(done);
        throw new BrokerError('E_CLOSED', 'the worker was killed');
      }
      sent.push(...messages.map(({ to, dedupe }) => `${to.queue} ${dedupe?.key}`));
      return messages.map(() => null);
    },
    ask: (step) => step(),
    write: (writes) => store.set(writes),
    broadcast: async () => null,
  };
  const chords = new Chords(options);
  chords.overdue.watch();
  await looked;
  chords.overdue.close();
  return sent;
}

test('the errbacks of an overdue chord are called, though the first worker died when its failure was stored', async () => {
  const body = makeSignature('body', { options: { task_id: 'body-1', link_error: [makeSignature('alert')] } });
  const past = Date.now() - 1_000;
  await store.chords?.open([{ groupId: 'g', size: 2, body: encodeJson(body), deadlineMs: past, ttlMs: 60_000 }]);
  expect(await lookOnce('dies')).toEqual([]);
  expect((await store.get(['body-1']))[0]).toMatch(/ChordError.*deadline/);
  expect(await lookOnce('sends')).toEqual(['alert chord:g:failed:0']);
  expect((await store.chords?.overdue(Date.now(), 10))?.chords).toEqual([]);
});

test('an overdue chord whose body was revoked is closed, and nobody is told of a failure', async () => {
  const body = makeSignature('body', { options: { task_id: 'body-2', link_error: [makeSignature('alert')] } });
  const past = Date.now() - 1_000;
  await store.chords?.open([{ groupId: 'h', size: 2, body: encodeJson(body), deadlineMs: past, ttlMs: 60_000 }]);
  const meta = JSON.stringify({ status: 'REVOKED', result: null, traceback: null, children: null, task_id: 'body-2' });
  const write = { id: 'body-2', state: 'REVOKED', meta, epoch: 0, ttlMs: 60_000, replyTo: null, correlationId: null };
  await store.set([write]);
  expect(await lookOnce('sends')).toEqual([]);
  expect((await store.get(['body-2']))[0]).toBe(meta);
});
