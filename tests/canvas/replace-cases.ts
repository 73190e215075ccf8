/** What `ctx.replace()` promises on any broker with a result store that counts: one suite, run by a file for each. */
import { chain, chord, createApp, group, NonRetryableError, taskContext, type Worker } from 'lovage';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type CanvasBroker, SOON, SOON_POLL, silent } from './chain-cases.js';

function application({ brokerUrl, resultUrl }: CanvasBroker) {
  const app = createApp({
    broker: brokerUrl,
    results: resultUrl,
    logger: silent,
    defaultQueue: 'replacing',
    maxMessageSize: 20_000,
  });
  const told: string[] = [];
  const add = app.fn('add', (x: number, y: number) => x + y);
  const sum = app.fn('sum', (numbers: number[]) => numbers.reduce((total, each) => total + each, 0));
  const fail = app.fn('fail', (_value: number): number => {
    throw new NonRetryableError('as told');
  });
  const tell = app.fn('tell', (what: unknown) => void told.push(JSON.stringify(what)));
  /** Gives its place to a workflow of this shape, made of `n`. */
  const swap = app.fn('swap', (n: number, shape: string): number => {
    const ctx = taskContext();
    told.push(`swap ${shape}`);
    if (shape === 'task') throw ctx.replace(add.si(n, 100));
    if (shape === 'chain') throw ctx.replace(chain(add.si(n, 1), add.s(10), add.s(100)));
    if (shape === 'chord') throw ctx.replace(chord(group([add.si(n, 1), add.si(n, 2)]), sum.s()));
    if (shape === 'twice') throw ctx.replace(swap.si(n, 'chain'));
    if (shape === 'fail') throw ctx.replace(chain(add.si(n, 1), fail.s()));
    throw ctx.replace(tell.si('x'.repeat(30_000)));
  });
  const fan = app.fn('fan', (n: number): number[] => {
    throw taskContext().replace(group([add.si(n, 1), add.si(n, 2), add.si(n, 3)]));
  });
  /** Adds parts to its chord, in each try the same. */
  const more = app.fn(
    'more',
    async (n: number): Promise<number> => {
      const ctx = taskContext();
      await ctx.addToChord(add.si(n, 10));
      await ctx.addToChord(chain(add.si(n, 100), add.s(1000)));
      if (ctx.attempt === 1) throw new Error('not yet');
      return n;
    },
    { retry: { max: 1, base: '10ms' } },
  );
  const lone = app.fn('lone', (): Promise<string> => taskContext().addToChord(add.si(1, 1)));
  return { app, told, add, sum, fail, tell, swap, fan, more, lone };
}

export function replaceSuite(name: string, open: () => Promise<CanvasBroker>): void {
  describe(`tasks that replace themselves, on ${name}`, () => {
    let broker: CanvasBroker;
    let use: ReturnType<typeof application>;
    let worker: Worker;
    beforeAll(async () => {
      broker = await open();
      use = application(broker);
      worker = await use.app.worker({ pool: 'inline', concurrency: 10, grace: '1s', logger: silent });
    }, 60_000);
    afterEach(() => {
      use.told.length = 0;
    });
    afterAll(async () => {
      await worker?.close();
      await use?.app.close();
      await broker?.close();
    });

    test('whoever waits for the task gets the result of what took its place', async () => {
      const { swap, fan } = use;
      expect(await (await swap.send(1, 'task')).result(SOON)).toBe(101);
      expect(await (await swap.send(1, 'chain')).result(SOON)).toBe(112);
      expect(await (await swap.send(1, 'chord')).result(SOON)).toBe(5);
      expect(await (await swap.send(1, 'twice')).result(SOON)).toBe(112);
      expect(await (await fan.send(1)).result(SOON)).toEqual([2, 3, 4]);
    });

    test('the rest of a chain, and callbacks, follow what took its place', async () => {
      const { add, swap, tell, told } = use;
      const handle = await chain(add.si(1, 1), swap.s('chord'), add.s(1000)).link(tell.s()).send();
      expect(await handle.result(SOON)).toBe(1007);
      await expect.poll(() => told, SOON_POLL).toEqual(['swap chord', '1007']);
    });

    test('a part of a chord keeps its place, whatever it is replaced by', async () => {
      const { add, sum, swap, fan } = use;
      const parts = [swap.si(1, 'chain'), add.si(1, 1), chain(swap.si(2, 'chord'), add.s(1)), swap.si(3, 'task')];
      expect(await (await chord(group(parts), sum.s()).send()).result(SOON)).toBe(112 + 2 + 8 + 103);
      const lists = await group([fan.si(1), fan.si(2)]).send();
      expect(await lists.result(SOON)).toEqual([
        [2, 3, 4],
        [3, 4, 5],
      ]);
    });

    test('a failure of what took its place is that of the task, and calls its errback with its id', async () => {
      const { add, swap, tell, told, sum } = use;
      const failing = swap.with({ id: `replaced-${name}` }).si(1, 'fail');
      const handle = await chain(failing, add.s(1)).onError(tell.s()).send();
      await expect(handle.result(SOON)).rejects.toThrow('as told');
      await expect.poll(() => told, SOON_POLL).toEqual(['swap fail', `"replaced-${name}"`]);
      const body = await chord(group([swap.si(1, 'fail'), add.si(1, 1)]), sum.s()).send();
      await expect(body.result(SOON)).rejects.toMatchObject({ type: 'ChordError' });
    });

    test('a part adds parts to its chord, once however often it is tried', async () => {
      const { add, sum, more } = use;
      const handle = await chord(group([more.si(1), add.si(1, 1)]), sum.s()).send();
      expect(await handle.result(SOON)).toBe(1 + 2 + 11 + 1101);
    });

    test('a task that is no part of a chord can add none', async () => {
      await expect((await use.lone.send()).result(SOON)).rejects.toThrow('no part of a chord');
    });

    test('what is too large to take its place fails the task', async () => {
      await expect((await use.swap.send(1, 'large')).result(SOON)).rejects.toMatchObject({ code: 'E_TASK_FAILED' });
    });
  });
}
