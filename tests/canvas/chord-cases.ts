/** What groups and chords promise on any broker with a result store: one suite, run by a file for each. */
import { chain, chord, createApp, group, NonRetryableError, type TaskContext, taskContext, type Worker } from 'lovage';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CanvasBroker, SOON, SOON_POLL, silent } from './chain-cases.js';

interface Ran {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly context: Pick<TaskContext, 'id' | 'rootId' | 'groupId'>;
}

function application({ brokerUrl, resultUrl }: CanvasBroker) {
  const app = createApp({ broker: brokerUrl, results: resultUrl, logger: silent, defaultQueue: 'chords', sendTimeout: '30s' });
  const ran: Ran[] = [];
  const note = (): void => {
    const { id, name, args, rootId, groupId } = taskContext();
    ran.push({ name, args, context: { id, rootId, groupId } });
  };
  const add = app.fn('add', (x: number, y: number) => {
    note();
    return x + y;
  });
  const sum = app.fn('sum', (numbers: number[]) => {
    note();
    return numbers.reduce((total, number) => total + number, 0);
  });
  const join = app.fn('join', (parts: unknown[]) => {
    note();
    return JSON.stringify(parts);
  });
  const fail = app.fn('fail', (_value: number): number => {
    note();
    throw new NonRetryableError('as told');
  });
  const alert = app.fn('alert', (failedId: string) => {
    note();
    return failedId;
  });
  const nothing = app.fn('nothing', () => null);
  return { app, ran, add, sum, join, fail, alert, nothing };
}

export function chordSuite(name: string, open: () => Promise<CanvasBroker>): void {
  describe(`groups and chords on ${name}`, () => {
    let broker: CanvasBroker;
    let worker: Worker;
    let use: ReturnType<typeof application>;
    beforeAll(async () => {
      broker = await open();
      use = application(broker);
      worker = await use.app.worker({ pool: 'inline', queues: ['chords'], concurrency: 10, grace: '2s', logger: silent });
    }, 90_000);
    afterEach(() => void use.ran.splice(0));
    afterAll(async () => {
      await worker?.close();
      await use?.app.close();
      await broker?.close();
    });
    const count = (task: string): number => use.ran.filter((run) => run.name === task).length;

    test('a group gives its results in order, and its members as they end', async () => {
      const { add } = use;
      const handle = await group(add.si(1, 1), add.si(2, 2), add.si(3, 3)).send();
      expect(await handle.result(SOON)).toEqual([2, 4, 6]);
      const seen: unknown[] = [];
      for await (const member of handle.results(SOON)) seen.push(member.index, member.status);
      expect(seen).toHaveLength(6);
      expect(await handle.progress()).toEqual({ total: 3, done: 3, failed: 0 });
      expect(new Set(use.ran.map(({ context }) => context.groupId))).toEqual(new Set([handle.id]));
      expect(await handle.children[1].result(SOON)).toBe(4);
    });

    test('a loop over members that is left early waits for none of the others', async () => {
      const { add } = use;
      const handle = await group([add.si(1, 1), add.with({ countdown: '1h' }).si(2, 2)]).send();
      for await (const member of handle.results({ timeout: '1h' })) {
        expect(member).toEqual({ index: 0, status: 'fulfilled', value: 2 });
        break;
      }
      await handle.revoke();
      await expect(handle.result(SOON)).rejects.toMatchObject({ code: 'E_TASK_REVOKED' });
      expect(() => group([add.si(1, 1)]).with({ id: 'one' })).toThrow(/an id is that of one task/);
    });

    test('a group with a failure tells it, and how far it has come', async () => {
      const { add, fail } = use;
      const handle = await group([add.si(1, 1), fail.si(1)]).send();
      await expect(handle.result(SOON)).rejects.toThrow('as told');
      await expect.poll(() => handle.progress(), SOON_POLL).toEqual({ total: 2, done: 2, failed: 1 });
    });

    test('the body of a chord gets all results in order, once', async () => {
      const { add, sum, ran } = use;
      const handle = await chord(group([1, 2, 3].map((i) => add.si(i, i))), sum.s()).send();
      expect(await handle.result(SOON)).toBe(12);
      const body = ran.filter((run) => run.name === 'sum');
      expect(body.map(({ args }) => args)).toEqual([[[2, 4, 6]]]);
      expect(body[0]?.context.id).toBe(handle.id);
    });

    test('chords in chains, chains in chords, and groups in groups nest', async () => {
      const { add, sum, join } = use;
      const inner = group(chain(add.si(1, 1), add.s(1)), add.si(2, 2));
      const handle = await chain(inner, sum.s(), group(add.s(1), add.s(2)), join.s()).send();
      expect(await handle.result(SOON)).toBe('[8,9]');
      const nested = await chord(group(group(add.si(1, 0), add.si(2, 0)), add.si(3, 0)), join.s()).send();
      expect(await nested.result(SOON)).toBe('[[1,2],3]');
      const twice = await chord(group(chord(group(add.si(1, 1), add.si(2, 2)), sum.s()), add.si(3, 3)), sum.s()).send();
      expect(await twice.result(SOON)).toBe(12);
      const ends = await chain(add.si(1, 1), group(add.s(1), chain(add.s(2), add.s(3)))).send();
      expect(await ends.result(SOON)).toEqual([3, 7]);
    });

    test('a part that fails ends the chord at once: the body never runs, and its errback once', async () => {
      const { add, fail, sum, alert, ran } = use;
      const parts = [fail.si(1), ...[1, 2, 3].map((i) => add.si(i, i)), add.with({ countdown: '1h' }).si(1, 1)];
      const handle = await chord(group(parts), sum.s()).onError(alert.s()).send();
      await expect(handle.result(SOON)).rejects.toMatchObject({ code: 'E_TASK_FAILED', type: 'ChordError', message: /as told/ });
      await expect.poll(() => count('alert'), SOON_POLL).toBe(1);
      expect(ran.find((run) => run.name === 'alert')?.args).toEqual([handle.id]);
      expect(count('sum')).toBe(0);
    });

    test('several parts that fail, in a chain too, call the errback once', async () => {
      const { add, fail, sum, alert } = use;
      const parts = Array.from({ length: 20 }, (_, i) => (i % 2 ? fail.si(i) : chain(fail.si(i), add.s(1))));
      const handle = await chord(group(parts), sum.s()).onError(alert.s()).send();
      await expect(handle.result(SOON)).rejects.toMatchObject({ type: 'ChordError' });
      await expect.poll(() => count('fail'), SOON_POLL).toBe(20);
      await expect.poll(() => count('alert'), SOON_POLL).toBeGreaterThan(0);
      // behind whatever else was sent
      await (await use.nothing.send()).result(SOON);
      expect([count('alert'), count('sum')]).toEqual([1, 0]);
    });

    test('a chord that fails within a chord fails that one too, and what follows', async () => {
      const { add, fail, sum, alert } = use;
      const inner = chord(group(add.si(1, 1), fail.si(1)), sum.s());
      const handle = await chain(group(inner, add.si(3, 3)), sum.s(), add.s(1))
        .onError(alert.s())
        .send();
      await expect(handle.result(SOON)).rejects.toMatchObject({ type: 'ChordError' });
      expect(count('sum')).toBe(0);
    });

    test('a part that expired or was revoked ends the chord', async () => {
      const { add, sum } = use;
      const late = add.with({ expires: new Date(Date.now() - 60_000) }).si(1, 1);
      const expired = await chord(group(add.si(1, 1), late), sum.s()).send();
      await expect(expired.result(SOON)).rejects.toMatchObject({ type: 'ChordError', message: /expired/ });
      const id = `part-${name}`;
      const revoked = await chord(group(add.si(1, 1), add.with({ id, countdown: '3s' }).si(2, 2)), sum.s()).send();
      await use.app.handle(id).revoke();
      await expect(revoked.result(SOON)).rejects.toMatchObject({ type: 'ChordError' });
    }, 60_000);

    test('a chord of which no worker ever gets a part ends at its deadline', { timeout: 60_000 }, async () => {
      // sooner than the next look of a worker that nobody tells
      const urls = { broker: broker.brokerUrl, results: broker.resultUrl };
      const hasty = createApp({ ...urls, logger: silent, resultTtl: '2s', sendTimeout: '30s' });
      const lost = hasty.remote<[number, number], number>('add', { queue: 'nobody-takes-these' });
      const sum = hasty.remote<[number[]], number>('sum', { queue: 'chords' });
      const handle = await chord(group([lost.si(1, 1), lost.si(2, 2)]), sum.s()).send();
      await expect(handle.result({ timeout: '25s' })).rejects.toMatchObject({
        type: 'ChordError',
        message: expect.stringContaining('deadline'),
      });
      await hasty.close();
    });

    test('errors of a group’s members call its errback, each its own', async () => {
      const { add, fail, alert } = use;
      const handle = await group([fail.si(1), add.si(1, 1), fail.si(2)])
        .onError(alert.s())
        .send();
      await expect(handle.result(SOON)).rejects.toThrow('as told');
      await expect.poll(() => count('alert'), SOON_POLL).toBe(2);
    });

    test('1,000 parts run their body once', async () => {
      const { add, sum } = use;
      const handle = await chord(group(Array.from({ length: 1_000 }, (_, i) => add.si(i, 1))), sum.s()).send();
      expect(await handle.result(SOON)).toBe(500_500);
      expect(count('sum')).toBe(1);
    });
  });
}
