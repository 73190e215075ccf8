import { describe, expect, test } from 'vitest';
import type { Broadcast } from '../brokers/broker.js';
import { decodeEvents, EVENT_BATCH_KEY, type WireEvent } from '../wire/event-message.js';
import { EventOutbox, MAX_WAITING, MAX_WAITING_CHARACTERS } from './outbox.js';

const event = (uuid: string, more: object = {}): WireEvent => ({
  ...{ type: 'task-succeeded', hostname: 'w1@h', timestamp: 1, clock: 1, utcoffset: 0, pid: 1, uuid },
  ...more,
});
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** An outbox on a broker that answers when it is told to. */
function slowBroker() {
  const sent: Broadcast[] = [];
  const heard: (number | null)[] = [];
  let answers: { resolve(count: number | null): void; reject(error: Error): void }[] = [];
  const outbox = new EventOutbox({
    hostname: 'w1@h',
    broadcast: (broadcast) => {
      sent.push(broadcast);
      return new Promise((resolve, reject) => answers.push({ resolve, reject }));
    },
    onSent: (count) => heard.push(count),
  });
  const uuids = (): unknown[] => sent.flatMap(({ message }) => decodeEvents(message).events.map(({ uuid }) => uuid));
  /** Answers what was sent, turn by turn, until nothing more comes. */
  const answerAll = async (fails = false): Promise<void> => {
    while (answers.length > 0) {
      const due = answers;
      answers = [];
      for (const { resolve, reject } of due) fails ? reject(new Error('away')) : resolve(1);
      await turn();
      await turn();
    }
  };
  return { outbox, sent, heard, uuids, answerAll };
}

describe('the outbox of events', () => {
  test('what comes in one turn of the loop goes out as arrays of 24, in order, none with the event itself', async () => {
    const { outbox, sent, uuids, answerAll } = slowBroker();
    for (let index = 0; index < 50; index++) outbox.add(event(`t${index}`));
    expect(sent).toEqual([]);
    await turn();
    await answerAll();
    expect(sent.map(({ message }) => decodeEvents(message).events.length)).toEqual([24, 24, 2]);
    expect(new Set(sent.map(({ routingKey }) => routingKey))).toEqual(new Set([EVENT_BATCH_KEY]));
    expect(uuids()).toEqual(Array.from({ length: 50 }, (_, index) => `t${index}`));
    await outbox.drained();
    expect(outbox.dropped).toBe(0);
  });

  test('a broker that does not answer gets four batches; beyond ten thousand waiting events what comes is dropped and counted', async () => {
    const { outbox, sent, uuids, answerAll } = slowBroker();
    for (let index = 0; index < 96; index++) outbox.add(event(`first${index}`));
    await turn();
    expect(sent).toHaveLength(4);
    for (let index = 0; index < MAX_WAITING + 7; index++) outbox.add(event(`t${index}`));
    await turn();
    expect([sent.length, outbox.waiting, outbox.dropped]).toEqual([4, MAX_WAITING, 7]);
    await answerAll();
    await outbox.drained();
    expect(uuids()).toHaveLength(96 + MAX_WAITING);
    expect(uuids().at(-1)).toBe(`t${MAX_WAITING - 1}`);
    // There is room again.
    outbox.add(event('after'));
    await turn();
    await answerAll();
    expect(uuids().at(-1)).toBe('after');
    expect(outbox.dropped).toBe(7);
  });

  test('how tasks begin may fill half of it; what comes of them has the rest', async () => {
    const { outbox, uuids, answerAll } = slowBroker();
    for (let index = 0; index < MAX_WAITING; index++)
      outbox.add(event(`b${index}`, { type: index % 2 ? 'task-started' : 'task-received' }));
    expect([outbox.waiting, outbox.dropped]).toEqual([MAX_WAITING / 2, MAX_WAITING / 2]);
    for (let index = 0; index < MAX_WAITING / 2; index++) outbox.add(event(`e${index}`));
    expect([outbox.waiting, outbox.dropped]).toEqual([MAX_WAITING, MAX_WAITING / 2]);
    await turn();
    await answerAll();
    await outbox.drained();
    expect(uuids().filter((uuid) => String(uuid).startsWith('e'))).toHaveLength(MAX_WAITING / 2);
  });

  test('long texts count: few large events fill it too, and make room when they are sent', async () => {
    const { outbox, answerAll } = slowBroker();
    const traceback = 'x'.repeat(MAX_WAITING_CHARACTERS / 8);
    for (let index = 0; index < 10; index++) outbox.add(event(`t${index}`, { traceback }));
    expect([outbox.waiting, outbox.dropped]).toEqual([7, 3]);
    await turn();
    await answerAll();
    await outbox.drained();
    outbox.add(event('more', { traceback }));
    expect([outbox.waiting, outbox.dropped]).toEqual([1, 3]);
    await turn();
    await answerAll();
  });

  test("a task's own event goes alone under its own key, in its order, and says nothing about who listens to the others", async () => {
    const { outbox, sent, heard, uuids, answerAll } = slowBroker();
    const types = ['task-succeeded', 'task-mine', 'task-mine', 'task-failed', 'task-failed'];
    for (const [index, type] of types.entries()) outbox.add(event(`t${index}`, { type }));
    await turn();
    await answerAll();
    expect(sent.map(({ routingKey, message }) => [routingKey, decodeEvents(message).events.length])).toEqual([
      [EVENT_BATCH_KEY, 1],
      ['task.mine', 1],
      ['task.mine', 1],
      [EVENT_BATCH_KEY, 2],
    ]);
    expect(uuids()).toEqual(['t0', 't1', 't2', 't3', 't4']);
    expect(heard).toEqual([1, 1]);
  });

  test('what the broker did not take is dropped and counted, and the next goes out all the same', async () => {
    const { outbox, heard, answerAll } = slowBroker();
    for (let index = 0; index < 30; index++) outbox.add(event(`t${index}`));
    await turn();
    await answerAll(true);
    expect([outbox.dropped, heard]).toEqual([30, []]);
    outbox.add(event('next'));
    await turn();
    await answerAll();
    expect([outbox.dropped, heard]).toEqual([30, [1]]);
  });

  test('an event that cannot be written costs its batch and not the worker', async () => {
    const { outbox, uuids, answerAll } = slowBroker();
    outbox.add(event('bad', { odd: Symbol('x') }));
    await turn();
    await outbox.drained();
    expect(outbox.dropped).toBe(1);
    outbox.add(event('good'));
    await turn();
    await answerAll();
    expect(uuids()).toEqual(['good']);
  });

  test('cleared, it forgets what waits, counts nothing, and whoever waits for it goes on', async () => {
    const { outbox, sent } = slowBroker();
    outbox.add(event('t'));
    const drained = outbox.drained();
    outbox.clear();
    await drained;
    await turn();
    expect([sent.length, outbox.dropped, outbox.waiting]).toEqual([0, 0, 0]);
  });
});
