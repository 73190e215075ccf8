import { describe, expect, test } from 'vitest';
import type { Broadcast } from '../brokers/broker.js';
import { BrokerError } from '../core/errors.js';
import { silentLogger } from '../core/logger.js';
import { type ControlRequestInput, decodeControlReply, encodeControlRequest } from '../wire/control-message.js';
import type { ControlCommand } from './command.js';
import { NO_REPLY } from './command.js';
import { LamportClock } from './lamport-clock.js';
import { Mailbox } from './mailbox.js';
import type { WorkerPort } from './worker-port.js';

const replyTo = { exchange: 'reply.celery.pidbox', routingKey: 'client' };

/** A mailbox over a broker of two functions. */
function stage(commands: readonly ControlCommand[], custom: Partial<WorkerPort['custom']> = {}) {
  const answers: unknown[] = [];
  const failures: Error[] = [];
  let onBroadcast: ((broadcast: Broadcast) => void) | null = null;
  let closed = 0;
  const clock = new LamportClock();
  const broker = {
    listen: async (_exchange: string, _pattern: string, listener: (broadcast: Broadcast) => void) => {
      const failure = failures.shift();
      if (failure) throw failure;
      onBroadcast = listener;
      return { close: async () => void (closed += 1) };
    },
    sendReply: async (_to: unknown, message: Parameters<typeof decodeControlReply>[0]) => {
      answers.push(decodeControlReply(message).answers[0]?.[1]);
    },
  };
  const port = { nodeName: 'me@host', custom: { has: () => false, run: async () => null, ...custom } } as unknown as WorkerPort;
  const mailbox = new Mailbox({
    broker: broker as never,
    ...{ port, clock, logger: silentLogger, commands: new Map(commands.map((command) => [command.name, command])) },
  });
  return {
    ...{ mailbox, answers, failures, clock },
    get closed() {
      return closed;
    },
    get listens() {
      return onBroadcast !== null;
    },
    tell: (request: ControlRequestInput) => onBroadcast?.(encodeControlRequest({ ticket: 't', replyTo, ...request })),
    raw: (data: string) => {
      const { exchange, routingKey, message } = encodeControlRequest({ method: 'x' });
      onBroadcast?.({ exchange, routingKey, message: { ...message, body: { encoding: 'utf8', data } } });
    },
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a mailbox', () => {
  test('runs what is meant for its node and answers it, and nothing else', async () => {
    const { mailbox, answers, tell } = stage([{ name: 'hi', open: true, run: ({ who }) => `hi ${String(who)}` }]);
    await mailbox.open();
    tell({ method: 'hi', arguments: { who: 'all' } });
    tell({ method: 'hi', arguments: { who: 'me' }, destination: ['me@host'] });
    tell({ method: 'hi', arguments: { who: 'others' }, destination: ['other@host'] });
    tell({ method: 'hi', arguments: { who: 'nobody' }, pattern: 'other@*', matcher: 'glob' });
    await turn();
    expect(answers).toEqual(['hi all', 'hi me']);
  });

  test('hears what is for every worker of ours', async () => {
    const { mailbox, answers, tell } = stage([{ name: 'hi', open: true, run: () => 'hi' }]);
    await mailbox.open();
    tell({ method: 'hi', destination: ['lovage'] });
    await turn();
    expect(answers).toEqual(['hi']);
  });

  test('answers only who wants it, and not what has no answer', async () => {
    let runs = 0;
    const { mailbox, answers, tell } = stage([
      { name: 'quiet', run: () => void (runs += 1) },
      { name: 'end', run: () => NO_REPLY },
    ]);
    await mailbox.open();
    tell({ method: 'quiet', ticket: null, replyTo: null });
    tell({ method: 'end' });
    await turn();
    expect([runs, answers]).toEqual([1, []]);
  });

  test('counts garbage and goes on', async () => {
    const { mailbox, answers, raw, tell } = stage([{ name: 'hi', run: () => 1 }]);
    await mailbox.open();
    for (const data of ['{', '[]', '{"method": 1}', '{"method": "hi", "arguments": "x"}']) raw(data);
    tell({ method: 'hi' });
    await turn();
    expect([mailbox.ignored, answers]).toEqual([4, [1]]);
  });

  test('follows the clock of each request, whoever it was meant for', async () => {
    const { mailbox, clock, tell } = stage([]);
    await mailbox.open();
    tell({ method: 'x', clock: 50, destination: ['other@host'] });
    expect(clock.value).toBe(51);
  });

  test('has so many commands under way and no more', async () => {
    const release: (() => void)[] = [];
    const { mailbox, answers, tell } = stage([
      { name: 'slow', run: () => new Promise<void>((resolve) => release.push(resolve)) },
    ]);
    await mailbox.open();
    for (let count = 0; count < 70; count += 1) tell({ method: 'slow' });
    await turn();
    expect(release).toHaveLength(64);
    expect(answers).toEqual(
      Array.from({ length: 6 }, () => ({ error: "RuntimeError('64 commands are under way: try again later')" })),
    );
    for (const end of release.splice(0)) end();
    await turn();
    tell({ method: 'slow' });
    await turn();
    expect(release).toHaveLength(1);
    release[0]?.();
  });

  test("hands an app's own commands to it, with whatever arguments they have", async () => {
    const asked: unknown[] = [];
    const { mailbox, answers, tell } = stage([], {
      has: (name) => name === 'own',
      run: async (name, args) => {
        asked.push([name, args]);
        return { fine: true };
      },
    });
    await mailbox.open();
    tell({ method: 'own', arguments: { a: 1 } });
    tell({ method: 'unheard_of' });
    await turn();
    expect(asked).toEqual([['own', { a: 1 }]]);
    expect(answers.toSorted()).toEqual(expect.arrayContaining([{ fine: true }, { error: "KeyError('unheard_of')" }]));
  });

  test('keeps nobody waiting when it cannot listen, and goes on trying', async () => {
    const stand = stage([]);
    stand.failures.push(new BrokerError('E_BROKER_UNREACHABLE', 'away'), new BrokerError('E_BROKER_UNREACHABLE', 'still away'));
    await stand.mailbox.open();
    expect(stand.listens).toBe(false);
    const endMs = performance.now() + 10_000;
    while (!stand.listens && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(stand.listens).toBe(true);
    await stand.mailbox.close();
    expect(stand.closed).toBe(1);
  });

  test('that is closed tries no more', async () => {
    const stand = stage([]);
    for (let count = 0; count < 1_000; count += 1) stand.failures.push(new BrokerError('E_BROKER_UNREACHABLE', 'away'));
    await stand.mailbox.open();
    await stand.mailbox.close();
    const left = stand.failures.length;
    await turn();
    expect(stand.failures).toHaveLength(left);
    expect(stand.listens).toBe(false);
  });
});
