import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
import type { ControlQuestion } from '../app/gateway.js';
import type { Broadcast, Broker } from '../brokers/broker.js';
import { openMemoryBroker } from '../brokers/memory/index.js';
import { sleep } from '../core/clock.js';
import { silentLogger } from '../core/logger.js';
import { until } from '../testing/conformance/broker-kit.js';
import { controlExchange, decodeControlRequest, encodeControlReply, isAddressedTo } from '../wire/control-message.js';
import { type Asker, ask, Turns, tell } from './ask.js';
import { KnownNodes } from './known-nodes.js';
import { LamportClock } from './lamport-clock.js';

/** So long that a test which waits it out is seen to fail. */
const LONG_MS = 60_000;

const brokers: Broker[] = [];
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close();
});

/** A broker of its own, and nodes that answer as the test says. */
async function cluster(options: { readonly counts?: boolean } = {}) {
  const broker = await openMemoryBroker({ url: `memory:ask-${randomUUID()}`, logger: silentLogger, role: 'client' });
  brokers.push(broker);
  const heard: string[] = [];
  // What RabbitMQ cannot tell, this one does not tell either.
  const untold = async (one: Broadcast): Promise<null> => {
    await broker.broadcast(one);
    return null;
  };
  const silent = options.counts === false ? { ...methodsOf(broker), broadcast: untold } : broker;
  const asker: Asker = {
    broker: silent as Broker,
    clock: new LamportClock(),
    known: new KnownNodes(),
    turns: new Turns(),
    logger: silentLogger,
    json: 'plain',
  };
  const join = async (name: string, value: unknown | ((method: string) => unknown | Promise<unknown>) = { ok: 'pong' }) =>
    broker.listen(controlExchange(), '', async ({ message }) => {
      const request = decodeControlRequest(message);
      if (!isAddressedTo(request, name)) return;
      heard.push(name);
      const answer: unknown = typeof value === 'function' ? await (value as (method: string) => unknown)(request.method) : value;
      if (answer === undefined || request.replyTo === null || request.ticket === null) return;
      const reply = encodeControlReply(name, answer, { replyTo: request.replyTo, ticket: request.ticket, clock: 7 });
      await broker.sendReply(request.replyTo, reply.message);
    });
  return { broker, asker, join, heard };
}

function methodsOf(broker: Broker): Partial<Broker> {
  return {
    openInbox: (exchange, onReply) => broker.openInbox(exchange, onReply),
    sendReply: (to, message) => broker.sendReply(to, message),
  };
}

const question = (overrides: Partial<ControlQuestion> = {}): ControlQuestion => ({
  method: 'ping',
  args: {},
  destination: null,
  pattern: null,
  matcher: null,
  timeoutMs: LONG_MS,
  limit: null,
  ...overrides,
});

describe('where the broker counts listeners', () => {
  test('a question ends as soon as all have answered, and says who said what', async () => {
    const { asker, join } = await cluster();
    await join('w1@host');
    await join('w2@host', { error: "KeyError('nope')" });
    const { answers, errors, heardBy, complete, duplicates } = await ask(asker, question());
    expect([...answers]).toEqual([['w1@host', { ok: 'pong' }]]);
    expect([...errors]).toEqual([['w2@host', "KeyError('nope')"]]);
    expect({ heardBy, complete, duplicates }).toEqual({ heardBy: 2, complete: true, duplicates: [] });
  });

  test('nobody there is known at once', async () => {
    const { asker } = await cluster();
    expect(await ask(asker, question())).toMatchObject({ heardBy: 0, complete: true, answers: new Map() });
  });

  test('one that keeps silent is waited for until the time is over, and said to be missing', async () => {
    const { asker, join } = await cluster();
    await join('w1@host');
    await join('mute@host', () => undefined);
    expect(await ask(asker, question({ timeoutMs: 150 }))).toMatchObject({ heardBy: 2, complete: false });
  });

  test('named nodes end it, whoever else hears it', async () => {
    const { asker, join, heard } = await cluster();
    for (const name of ['w1@host', 'w2@host', 'w3@host']) await join(name);
    const { answers, complete } = await ask(asker, question({ destination: ['w2@host'] }));
    expect([[...answers.keys()], complete, heard]).toEqual([['w2@host'], true, ['w2@host']]);
  });

  test('a pattern ends it once all listeners are known by name', async () => {
    const { asker, join } = await cluster();
    for (const name of ['web1@host', 'web2@host', 'gpu@host']) await join(name);
    const pattern = { pattern: 'web*', matcher: 'glob' } as const;
    expect(await ask(asker, question({ ...pattern, timeoutMs: 200 }))).toMatchObject({ complete: false });
    await ask(asker, question());
    const { answers, complete } = await ask(asker, question(pattern));
    expect([[...answers.keys()], complete]).toEqual([['web1@host', 'web2@host'], true]);
  });

  test('a limit ends it', async () => {
    const { asker, join } = await cluster();
    await join('w1@host');
    await join('mute@host', () => undefined);
    expect([...(await ask(asker, question({ limit: 1 }))).answers.keys()]).toEqual(['w1@host']);
  });

  test('two workers of one name are told', async () => {
    const { asker, join } = await cluster();
    await join('w@host', 1);
    await join('w@host', 2);
    const { answers, duplicates, complete } = await ask(asker, question());
    expect([answers.size, duplicates, complete]).toEqual([1, ['w@host'], true]);
  });
});

describe('where the broker cannot tell how many listen', () => {
  test('the first question waits, the next ones end with the nodes that were heard', async () => {
    const { asker, join } = await cluster({ counts: false });
    await join('w1@host');
    await join('w2@host');
    expect(await ask(asker, question({ timeoutMs: 200 }))).toMatchObject({ heardBy: null, complete: false });
    const second = await ask(asker, question());
    expect([second.answers.size, second.complete]).toEqual([2, true]);
  });

  test('one that was heard and has gone is waited for once', async () => {
    const { asker, join } = await cluster({ counts: false });
    await join('w1@host');
    const leaving = await join('w2@host');
    await ask(asker, question({ timeoutMs: 200 }));
    await leaving.close();
    expect(await ask(asker, question({ timeoutMs: 200 }))).toMatchObject({ complete: false });
    expect(await ask(asker, question())).toMatchObject({ complete: true });
  });

  test('one that came up meanwhile is heard too', async () => {
    const { asker, join } = await cluster({ counts: false });
    await join('w1@host');
    await ask(asker, question({ timeoutMs: 200 }));
    await join('new@host', () => sleep(20).then(() => ({ ok: 'pong' })));
    expect([...(await ask(asker, question())).answers.keys()].sort()).toEqual(['new@host', 'w1@host']);
  });
});

test('replies to others, and what is no reply, are passed over', async () => {
  const { asker, broker, join } = await cluster();
  await join('w1@host', async () => {
    const [listening] = [...inboxes];
    if (listening) {
      await broker.sendReply(
        listening,
        encodeControlReply('liar@host', 1, { replyTo: listening, ticket: 'another', clock: 0 }).message,
      );
      await broker.sendReply(listening, {
        contentType: 'application/json',
        contentEncoding: 'utf-8',
        headers: {},
        properties: {},
        body: { encoding: 'utf8', data: 'garbage' },
      });
    }
    return { ok: 'pong' };
  });
  const inboxes = new Set<{ exchange: string; routingKey: string }>();
  const watched: Asker = {
    ...asker,
    broker: {
      ...methodsOf(broker),
      broadcast: (one: Broadcast) => broker.broadcast(one),
      openInbox: async (exchange: string, onReply: Parameters<Broker['openInbox']>[1]) => {
        const inbox = await broker.openInbox(exchange, onReply);
        inboxes.add(inbox.address);
        return inbox;
      },
    } as unknown as Broker,
  };
  const { answers } = await ask(watched, question({ timeoutMs: 2_000 }));
  expect([...answers.keys()]).toEqual(['w1@host']);
});

test('the logical clock goes with what is heard', async () => {
  const { asker, join } = await cluster();
  await join('w1@host');
  await ask(asker, question());
  expect(asker.clock.value).toBe(8);
});

test('a signal ends the wait at once, and nothing stays open', async () => {
  const { asker, join } = await cluster();
  await join('mute@host', () => undefined);
  const controller = new AbortController();
  const asked = ask(asker, question(), { signal: controller.signal });
  controller.abort(new Error('enough'));
  await expect(asked).rejects.toThrow('enough');
  await expect(ask(asker, question(), { signal: controller.signal })).rejects.toThrow('enough');
});

test('eight questions at once have inboxes, the others wait for their turn and are answered', async () => {
  const { asker, broker, join } = await cluster();
  await join('w1@host', () => sleep(5).then(() => ({ ok: 'pong' })));
  let open = 0;
  let most = 0;
  const counting: Asker = {
    ...asker,
    broker: {
      broadcast: (one: Broadcast) => broker.broadcast(one),
      openInbox: async (exchange: string, onReply: Parameters<Broker['openInbox']>[1]) => {
        most = Math.max(most, ++open);
        const inbox = await broker.openInbox(exchange, onReply);
        return { address: inbox.address, close: () => inbox.close().finally(() => open--) };
      },
    } as unknown as Broker,
  };
  const all = await Promise.all(Array.from({ length: 30 }, () => ask(counting, question())));
  expect(all.every(({ answers }) => answers.size === 1)).toBe(true);
  expect([most, open]).toEqual([8, 0]);
});

test('telling waits for nobody and says how many heard it', async () => {
  const { asker, join, heard } = await cluster();
  await join('w1@host', () => undefined);
  await join('w2@host', () => undefined);
  expect(await tell(asker, question({ method: 'shutdown' }))).toBe(2);
  await until(() => heard.length === 2, 'both to hear it');
});
