/** What chords with `settle: 'all'` promise on any broker with a result store that counts: one suite, run by a file for each. */
import { chain, chord, createApp, group, NonRetryableError, type Outcome, taskContext, type Worker } from 'lovage';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CanvasBroker, SOON, SOON_POLL, silent } from './chain-cases.js';

function application({ brokerUrl, resultUrl }: CanvasBroker) {
  const app = createApp({ broker: brokerUrl, results: resultUrl, logger: silent, defaultQueue: 'settling' });
  const alerts: string[] = [];
  const bodies: string[] = [];
  const add = app.fn('add', (x: number, y: number) => x + y);
  const fail = app.fn('fail', (_value: number): number => {
    throw new NonRetryableError('as told');
  });
  /** What each part came to, in words. */
  const tell = app.fn('tell', (outcomes: readonly Outcome<number>[]) => {
    bodies.push(taskContext().id);
    return outcomes.map((outcome) =>
      outcome.status === 'fulfilled' ? String(outcome.value) : `${outcome.reason.state} ${outcome.reason.type}`,
    );
  });
  const count = app.fn('count', (words: readonly string[]) => words.length);
  const alert = app.fn('alert', (failedId: string) => void alerts.push(failedId));
  const other = app.fn('other', (failedId: string) => void alerts.push(`other ${failedId}`));
  return { app, alerts, bodies, add, fail, tell, count, alert, other };
}

export function settleAllSuite(name: string, open: () => Promise<CanvasBroker>): void {
  describe(`chords that settle all, on ${name}`, () => {
    let broker: CanvasBroker;
    let use: ReturnType<typeof application>;
    let worker: Worker;
    beforeAll(async () => {
      broker = await open();
      use = application(broker);
      worker = await use.app.worker({ pool: 'inline', concurrency: 10, grace: '1s', logger: silent });
    }, 60_000);
    afterEach(() => {
      use.alerts.length = 0;
      use.bodies.length = 0;
    });
    afterAll(async () => {
      await worker?.close();
      await use?.app.close();
      await broker?.close();
    });

    test('the body runs once with the outcomes of all, in order, and no errback is called', async () => {
      const { add, fail, tell, count, alert, alerts, bodies } = use;
      const late = add.with({ expires: new Date(Date.now() - 60_000) }).si(1, 1);
      const header = group([add.si(1, 1), fail.si(1), late, chain(fail.si(2), add.s(1)), add.si(2, 2)]);
      const body = tell.with({ id: `told-${name}` }).s();
      const handle = await chain(chord(header, body, { settle: 'all' }), count.s())
        .onError(alert.s())
        .send();
      expect(await handle.result(SOON)).toBe(5);
      expect(await use.app.handle(`told-${name}`).result(SOON)).toEqual([
        ...['2', 'FAILURE NonRetryableError', 'REVOKED TaskRevokedError', 'FAILURE NonRetryableError', '4'],
      ]);
      expect([bodies, alerts]).toEqual([[`told-${name}`], []]);
    });

    test('parts that all succeed, and parts that all fail, are told as such', async () => {
      const { add, fail, tell } = use;
      const fine = await chord(group([add.si(1, 1), add.si(2, 2)]), tell.s(), { settle: 'all' }).send();
      expect(await fine.result(SOON)).toEqual(['2', '4']);
      const broken = await chord(group([fail.si(1), fail.si(2), fail.si(3)]), tell.s(), { settle: 'all' }).send();
      expect(await broken.result(SOON)).toEqual(Array<string>(3).fill('FAILURE NonRetryableError'));
    });

    test('one is within another, and within one that fails fast', async () => {
      const { add, fail, tell, count } = use;
      const inner = chain(chord(group([fail.si(1), add.si(1, 1)]), tell.s(), { settle: 'all' }), count.s());
      const failing = chord(group([fail.si(1), add.si(1, 1)]), add.si(0, 0));
      const outer = await chord(group([inner, failing, add.si(4, 4)]), tell.s(), { settle: 'all' }).send();
      expect(await outer.result(SOON)).toEqual(['2', 'FAILURE ChordError', '8']);
      const fast = await chord(group([inner, fail.si(1)]), add.si(0, 0)).send();
      await expect(fast.result(SOON)).rejects.toMatchObject({ type: 'ChordError' });
    });

    test('a part that waits for its time and is revoked does not keep the others from being told', async () => {
      const { add, tell } = use;
      const id = `waiting-${name}`;
      const parts = [add.si(1, 1), add.with({ id, countdown: '1h' }).si(2, 2), add.with({ countdown: '1500ms' }).si(3, 3)];
      const handle = await chord(group(parts), tell.s(), { settle: 'all' }).send();
      await use.app.handle(id).revoke();
      expect(await handle.result(SOON)).toEqual(['2', 'REVOKED TaskRevokedError', '6']);
    }, 60_000);

    // one store shows it
    test.runIf(name === 'file')(
      'at the deadline the body is told who had not ended',
      async () => {
        const app = createApp({ broker: broker.brokerUrl, results: broker.resultUrl, logger: silent, resultTtl: '3s' });
        const add = app.remote<[number, number], number>('add', { queue: 'settling' });
        const lost = app.remote<[number, number], number>('add', { queue: 'nobody-takes-this' });
        const tell = app.remote<[readonly Outcome<number>[]], string[]>('tell', { queue: 'settling' });
        const handle = await chord(group([lost.si(1, 1), add.si(2, 2)]), tell.s(), { settle: 'all' }).send();
        expect(await handle.result(SOON)).toEqual(['PENDING ChordError', '4']);
        await app.close();
      },
      60_000,
    );

    test('a body of which each member has an errback calls each with its own id, and a common one once', async () => {
      const { add, fail, alert, other, alerts } = use;
      const ids = ['a', 'b', 'c'].map((letter) => `${letter}-${name}`);
      const [a, b, c] = ids.map((id) => add.with({ id }).si(1, 1));
      if (!a || !b || !c) throw new Error('no members');
      const body = group([a.onError(other.s()), b, c.onError(other.with({ priority: 3 }).s())]).onError(alert.s());
      const handle = await chord(group([fail.si(1), add.si(1, 1)]), body).send();
      await expect(handle.result(SOON)).rejects.toMatchObject({ type: 'ChordError' });
      await expect.poll(() => [...alerts].sort(), SOON_POLL).toEqual([ids[0], `other ${ids[0]}`, `other ${ids[2]}`].sort());
    });
  });
}
