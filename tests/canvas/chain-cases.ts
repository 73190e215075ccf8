/** What chains, callbacks and errbacks promise on any broker: one suite, run by a file for each. */
import { chain, createApp, NonRetryableError, type TaskContext, taskContext, type Worker } from 'lovage';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import * as z from 'zod';

/** A broker of the suite's own. */
export interface CanvasBroker {
  readonly brokerUrl: string;
  readonly resultUrl: string;
  close(): Promise<void>;
}

export const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
export const SOON = { timeout: '30s' } as const;
export const SOON_POLL = { timeout: 20_000, interval: 20 } as const;

interface Ran {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly context: Pick<TaskContext, 'id' | 'rootId' | 'parentId' | 'queue' | 'attempt' | 'headers'>;
}

function application({ brokerUrl, resultUrl }: CanvasBroker) {
  const app = createApp({ broker: brokerUrl, results: resultUrl, logger: silent, defaultQueue: 'canvas', maxMessageSize: 4_000 });
  const ran: Ran[] = [];
  const note = (): void => {
    const { id, name, args, rootId, parentId, queue, attempt, headers } = taskContext();
    ran.push({ name, args, context: { id, rootId, parentId, queue, attempt, headers } });
  };
  const add = app.fn('add', (x: number, y: number) => {
    note();
    return x + y;
  });
  const text = app.fn('text', (value: number, length?: number) => {
    note();
    return String(value).padEnd(length ?? 0, '.');
  });
  const fail = app.fn('fail', (_value: number) => {
    note();
    throw new NonRetryableError('as told');
  });
  const flaky = app.fn(
    'flaky',
    (value: number) => {
      note();
      if (taskContext().attempt < 3) throw new Error('not yet');
      return value;
    },
    { retry: { max: 3, base: '10ms', jitter: 'none' } },
  );
  const alert = app.fn('alert', (failedId: string) => {
    note();
    return failedId;
  });
  const done = app.fn('done', () => {
    note();
    return 'done';
  });
  const order = app.task({
    name: 'order',
    input: z.object({ id: z.number() }),
    run: ({ id }) => {
      note();
      return { id, total: 10 };
    },
  });
  const invoice = app.task({
    name: 'invoice',
    input: z.object({ id: z.number(), total: z.number(), currency: z.string() }),
    run: ({ id, total, currency }) => {
      note();
      return `${id}: ${total} ${currency}`;
    },
  });
  const nested = app.fn('nested', async () => void (await chain(add.si(1, 2), add.s(3)).send()));
  return { app, ran, add, text, fail, flaky, alert, done, order, invoice, nested };
}

export function chainSuite(name: string, open: () => Promise<CanvasBroker>): void {
  describe(`chains on ${name}`, () => {
    let broker: CanvasBroker;
    let worker: Worker;
    let use: ReturnType<typeof application>;
    beforeAll(async () => {
      broker = await open();
      use = application(broker);
      worker = await use.app.worker({ pool: 'inline', queues: ['canvas', 'other'], concurrency: 4, grace: '2s', logger: silent });
    }, 90_000);
    afterEach(() => void use.ran.splice(0));
    afterAll(async () => {
      await worker?.close();
      await use?.app.close();
      await broker?.close();
    });
    const names = (): string[] => use.ran.map((run) => run.name);

    test('each task gets the result of the one before, and the handle is that of the last', async () => {
      const { add, text, ran } = use;
      const handle = await chain(add.si(2, 2), add.s(4), text.s(5)).send();
      expect(await handle.result(SOON)).toBe('8....');
      expect(ran.map(({ args }) => args)).toEqual([
        [2, 2],
        [4, 4],
        [8, 5],
      ]);
      const [first, second, third] = ran.map(({ context }) => context);
      expect(third?.id).toBe(handle.id);
      expect([first?.parentId, second?.parentId, third?.parentId]).toEqual([null, first?.id, second?.id]);
      expect(new Set(ran.map(({ context }) => context.rootId))).toEqual(new Set([first?.id]));
    });

    test('an immutable link takes nothing from before, and results list what followed', async () => {
      const { app, add, done } = use;
      const handle = await chain(add.si(1, 1), done.si()).send();
      expect(await handle.result(SOON)).toBe('done');
      const first = app.handle(use.ran[0]?.context.id ?? '');
      // what follows is sent before the result is stored
      await expect.poll(() => first.state(), SOON_POLL).toBe('SUCCESS');
      expect(await first.status()).toMatchObject({ result: 2, children: [handle.id] });
    });

    test('an object task gets the object before it, with its own fields over it', async () => {
      const { order, invoice } = use;
      const handle = await chain(order.si({ id: 7 }), invoice.s({ currency: 'EUR' })).send();
      expect(await handle.result(SOON)).toBe('7: 10 EUR');
    });

    test('chains that are made by pipe, of chains, and with options of their steps', async () => {
      const { add, ran } = use;
      const half = chain(add.si(1, 1), add.with({ queue: 'other', headers: { step: 'second' } }).s(1));
      const whole = half.pipe(chain(add.s(10), add.with({ countdown: '50ms' }).s(20)));
      expect(await (await whole.send()).result(SOON)).toBe(33);
      expect(ran.map(({ context }) => context.queue)).toEqual(['canvas', 'other', 'canvas', 'canvas']);
      expect(ran[1]?.context.headers).toEqual({ step: 'second' });
    });

    test('a link that is retried goes on with the chain when it succeeds, once', async () => {
      const { add, flaky, ran } = use;
      expect(await (await chain(flaky.si(5), add.s(1)).send()).result(SOON)).toBe(6);
      expect(ran.map((run) => `${run.name} ${run.context.attempt}`)).toEqual(['flaky 1', 'flaky 2', 'flaky 3', 'add 1']);
    });

    test('a failure ends the chain: later links never run and have the same failure, and the errback runs once', async () => {
      const { app, add, fail, text, alert, ran } = use;
      const handle = await chain(add.si(1, 1), fail.s(), add.s(1), text.s()).onError(alert.s()).send();
      await expect(handle.result(SOON)).rejects.toMatchObject({
        code: 'E_TASK_FAILED',
        message: expect.stringContaining('as told'),
      });
      await expect.poll(names, SOON_POLL).toEqual(['add', 'fail', 'alert']);
      const failed = ran[1]?.context.id;
      expect(ran[2]?.args).toEqual([failed]);
      expect(await app.handle(ran[2]?.context.id ?? '').result(SOON)).toBe(failed);
      expect(ran[2]?.context).toMatchObject({ parentId: failed, rootId: ran[0]?.context.id });
    });

    test('callbacks get the result, each once, and a failure calls none', async () => {
      const { add, text, done, fail, alert } = use;
      const linked = add
        .si(2, 3)
        .link(text.s())
        .link(done.si())
        .link(chain(add.s(1), text.s(3)));
      expect(await (await linked.send()).result(SOON)).toBe(5);
      await expect.poll(() => names().sort(), SOON_POLL).toEqual(['add', 'add', 'done', 'text', 'text']);
      use.ran.splice(0);
      const failing = await fail.si(1).link(done.si()).onError(alert.s()).send();
      await expect(failing.result(SOON)).rejects.toThrow('as told');
      await expect.poll(names, SOON_POLL).toEqual(['fail', 'alert']);
    });

    test('a link that expired or was revoked ends those behind it as revoked', async () => {
      const { add, done, ran } = use;
      const late = await chain(add.si(1, 1), add.with({ expires: new Date(Date.now() - 60_000) }).s(1), done.si()).send();
      await expect(late.result(SOON)).rejects.toMatchObject({
        code: 'E_TASK_REVOKED',
        message: expect.stringContaining('expired'),
      });
      const waiting = add.with({ id: `revoked-${name}`, countdown: '2s' }).si(1, 1);
      const handle = await chain(waiting, done.si()).send();
      await use.app.handle(`revoked-${name}`).revoke();
      await expect(handle.result(SOON)).rejects.toMatchObject({ code: 'E_TASK_REVOKED' });
      expect(ran.map((run) => run.name)).toEqual(['add']);
    });

    test('a result too long for the next link fails the chain where it happened', async () => {
      const { text, done } = use;
      const handle = await chain(text.si(1, 5_000), text.with({}).s() as never, done.si()).send();
      await expect(handle.result(SOON)).rejects.toMatchObject({
        code: 'E_TASK_FAILED',
        message: expect.stringContaining('maxMessageSize'),
      });
      expect(names()).toEqual(['text']);
    });

    test('sends from inside a task belong to its workflow', async () => {
      const { nested, ran } = use;
      const parent = await nested.send();
      await parent.result(SOON);
      await expect.poll(names, SOON_POLL).toEqual(['add', 'add']);
      expect(ran[0]?.context).toMatchObject({ parentId: parent.id, rootId: parent.id });
      expect(ran[1]?.context).toMatchObject({ parentId: ran[0]?.context.id, rootId: parent.id });
    });
  });
}
