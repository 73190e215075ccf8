/** What handles of workflows promise on any store: parents, children, progress, saving and graphs. Run by a file for each. */
import { type AnyHandle, chain, chord, createApp, type GroupHandle, group, NonRetryableError, type Worker } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CanvasBroker, SOON, SOON_POLL, silent } from './chain-cases.js';

function application({ brokerUrl, resultUrl }: CanvasBroker) {
  const app = createApp({ broker: brokerUrl, results: resultUrl, logger: silent, defaultQueue: 'handles' });
  const add = app.fn('add', (x: number, y: number) => x + y);
  const sum = app.fn('sum', (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0));
  const fail = app.fn('fail', (_value: number) => {
    throw new NonRetryableError('as told');
  });
  const gates = new Map<string, () => void>();
  const gate = app.fn('gate', (name: string) => new Promise<string>((resolve) => gates.set(name, () => resolve(name))));
  const open = async (name: string): Promise<void> => {
    await expect.poll(() => gates.has(name), SOON_POLL).toBe(true);
    gates.get(name)?.();
    gates.delete(name);
  };
  const inner = app.fn('inner', async (value: number) => void (await add.send(value, 1)));
  const saver = app.fn('saver', async () => {
    const handle = await group(add.si(1, 1), add.si(2, 2)).send();
    await handle.save();
    return handle.id;
  });
  return { app, add, sum, fail, gate, open, inner, saver };
}

const idOf = (handle: AnyHandle | null): string | undefined => handle?.id;
const isGroup = (handle: AnyHandle | null): handle is GroupHandle<readonly unknown[]> => handle !== null && 'watch' in handle;

export function handleSuite(name: string, openBroker: () => Promise<CanvasBroker>): void {
  describe(`handles of workflows on ${name}`, () => {
    let broker: CanvasBroker;
    let worker: Worker;
    let use: ReturnType<typeof application>;
    beforeAll(async () => {
      broker = await openBroker();
      use = application(broker);
      worker = await use.app.worker({ pool: 'inline', queues: ['handles'], concurrency: 8, grace: '2s', logger: silent });
    }, 90_000);
    afterAll(async () => {
      await worker?.close();
      await use?.app.close();
      await broker?.close();
    });

    describe('parent and children', () => {
      test('the handle of a chain knows the steps before it, from the moment when it was sent', async () => {
        const { add } = use;
        const first = add.with({ id: `first-${name}` }).si(1, 1);
        const handle = await chain(first, add.s(2), add.s(3)).send();
        const second = await handle.parent();
        expect(second && (await second.result(SOON))).toBe(4);
        const before = second && (await second.parent());
        expect(idOf(before)).toBe(`first-${name}`);
        expect(await before?.parent()).toBeNull();
        expect(await handle.result(SOON)).toBe(7);
      });

      test('before the body of a chord stands its header, and before that what the chain began with', async () => {
        const { add, sum } = use;
        const handle = await chain(add.with({ id: `open-${name}` }).si(1, 1), group(add.s(1), add.s(2)), sum.s()).send();
        expect(await handle.result(SOON)).toBe(7);
        const header = await handle.parent();
        expect(isGroup(header) && header.children).toHaveLength(2);
        expect(header && (await header.result(SOON))).toEqual([3, 4]);
        expect(idOf((await header?.parent()) ?? null)).toBe(`open-${name}`);
      });

      test('a result tells who sent the task and what it sent', async () => {
        const { app, inner } = use;
        const handle = await inner.send(1);
        await handle.result(SOON);
        const [child, ...others] = await handle.children();
        expect(others).toEqual([]);
        expect(child && (await child.result(SOON))).toBe(2);
        expect(idOf(await app.handle(child?.id ?? '').parent())).toBe(handle.id);
        expect(await handle.parent()).toBeNull();
        expect(await app.handle(`nobody-${name}`).children()).toEqual([]);
      });

      test('a group that followed a task is among its children, with its members', async () => {
        const { app, add } = use;
        const sent = await chain(add.with({ id: `fan-${name}` }).si(1, 1), group(add.s(1), add.s(2))).send();
        await sent.result(SOON);
        const [children] = await app.handle(`fan-${name}`).children();
        expect(idOf(children ?? null)).toBe(sent.id);
        expect(isGroup(children ?? null) && (children as typeof sent).children.map(({ id }) => id)).toEqual(
          sent.children.map(({ id }) => id),
        );
      });
    });

    describe('watching a group', () => {
      test('tells how far it is at once, and again at each end, until all have ended', async () => {
        const { gate, fail, open } = use;
        const handle = await group(gate.si('a'), fail.si(1), gate.si('b')).send();
        await handle.children[1].result(SOON).catch(() => {});
        const seen: string[] = [];
        for await (const { done, failed, total } of handle.watch(SOON)) {
          seen.push(`${done} of ${total}, ${failed} failed`);
          if (done === 1) await open('b');
          if (done === 2) await open('a');
        }
        expect(seen).toEqual(['1 of 3, 1 failed', '2 of 3, 1 failed', '3 of 3, 1 failed']);
        const again: unknown[] = [];
        for await (const progress of handle.watch(SOON)) again.push(progress);
        expect(again).toEqual([{ total: 3, done: 3, failed: 1 }]);
      });

      test('counts members of groups within it one by one', async () => {
        const { add } = use;
        const handle = await group(group(add.si(1, 1), add.si(2, 2)), add.si(3, 3)).send();
        let last: unknown = null;
        for await (const progress of handle.watch(SOON)) last = progress;
        expect(last).toEqual({ total: 3, done: 3, failed: 0 });
      });

      test('throws when the time is over, and needs one', async () => {
        const { gate, open } = use;
        const handle = await group(gate.si('late')).send();
        const loop = async (): Promise<void> => {
          for await (const { done } of handle.watch({ timeout: '50ms' })) expect(done).toBe(0);
        };
        await expect(loop()).rejects.toMatchObject({ code: 'E_RESULT_TIMEOUT' });
        await expect(handle.watch({} as never).next()).rejects.toMatchObject({ code: 'E_CONFIG_TYPE' });
        await open('late');
        await handle.result(SOON);
      });

      test('gives a thousand members in the order in which they end', async () => {
        const { add } = use;
        const handle = await group(Array.from({ length: 1_000 }, (_, index) => add.si(index, 0))).send();
        const values = new Set<number>();
        for await (const member of handle.results(SOON)) if (member.status === 'fulfilled') values.add(member.value);
        expect(values.size).toBe(1_000);
      });
    });

    describe('saving', () => {
      test('a group that was saved is restored with its members', async () => {
        const { app, add } = use;
        const handle = await group(add.si(1, 1), chain(add.si(2, 2), add.s(3)), group(add.si(4, 4), add.si(5, 5))).send();
        await handle.save();
        const restored = await app.restore(handle.id);
        expect(restored && (await restored.result(SOON))).toEqual([2, 7, [8, 10]]);
        expect(isGroup(restored) && (await restored.progress())).toEqual({ total: 4, done: 4, failed: 0 });
      });

      test('the end of a chain that was saved knows what stands before it', async () => {
        const { app, add, sum } = use;
        const handle = await chain(add.si(1, 1), group(add.s(1), add.s(2)), sum.s(), add.s(10)).send();
        await handle.save();
        const restored = await app.restore(handle.id);
        expect(restored && (await restored.result(SOON))).toBe(17);
        const body = (await restored?.parent()) ?? null;
        const header = (await body?.parent()) ?? null;
        expect(header && (await header.result(SOON))).toEqual([3, 4]);
      });

      test('a task saves what it sent, and others restore it', async () => {
        const { app, saver } = use;
        const id = await (await saver.send()).result(SOON);
        const restored = await app.restore(id);
        expect(restored && (await restored.result(SOON))).toEqual([2, 4]);
      });

      test('what nobody saved is nothing', async () => {
        expect(await use.app.restore(`nobody-${name}`)).toBeNull();
      });
    });

    describe('graphs', () => {
      const lines = async (handle: Pick<AnyHandle, 'graph'>): Promise<string[]> => {
        const { nodes, edges, more } = await handle.graph();
        expect(more).toBe(0);
        const label = new Map(
          nodes.map(({ id, kind, name: task, state }) => [id, kind === 'group' ? 'group' : `${task}/${state}`]),
        );
        return edges
          .map(({ from, to, kind }) => `${label.get(from)} ${kind === 'member' ? 'has' : '->'} ${label.get(to)}`)
          .sort();
      };

      test('of a running chain show what has ended, what runs and what waits', async () => {
        const { add, gate, open } = use;
        const handle = await chain(add.si(1, 1), gate.si('graph'), gate.si('graph2')).send();
        const middle = await handle.parent();
        const first = await middle?.parent();
        await first?.result(SOON);
        expect(await lines(handle)).toEqual(['add/SUCCESS -> gate/PENDING', 'gate/PENDING -> gate/PENDING']);
        await open('graph');
        await open('graph2');
        await handle.result(SOON);
        const { nodes } = await handle.graph();
        expect(nodes.map(({ state }) => state)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS']);
        expect(nodes[0]?.tookMs).toBeGreaterThanOrEqual(0);
        expect(nodes[0]?.finishedAt).toBeInstanceOf(Date);
      });

      test('of a chord show its header between what stands before it and its body', async () => {
        const { add, sum } = use;
        const handle = await chain(add.si(1, 1), group(add.s(1), chain(add.s(2), add.s(3))), sum.s()).send();
        await handle.result(SOON);
        expect(await lines(handle)).toEqual([
          'add/SUCCESS -> add/SUCCESS',
          'add/SUCCESS -> group',
          'group -> sum/SUCCESS',
          'group has add/SUCCESS',
          'group has add/SUCCESS',
        ]);
      });

      test('are found from any of its tasks once it was saved', async () => {
        const { app, add } = use;
        const handle = await chain(add.with({ id: `root-${name}` }).si(1, 1), add.s(2), add.s(3)).send();
        await handle.save();
        await handle.result(SOON);
        const whole = ['add/SUCCESS -> add/SUCCESS', 'add/SUCCESS -> add/SUCCESS'];
        expect(await lines(app.handle(handle.id))).toEqual(whole);
        expect(await lines(app.handle(`root-${name}`))).toEqual(whole);
      });

      test('are found from results alone, without names, if nothing was saved', async () => {
        const { app, add } = use;
        const handle = await chain(add.with({ id: `alone-${name}` }).si(1, 1), group(add.s(2), add.s(3))).send();
        await handle.result(SOON);
        const { nodes, edges } = await app.handle(handle.children[0].id).graph();
        expect(nodes).toHaveLength(4);
        expect(edges.map(({ kind }) => kind).sort()).toEqual(['member', 'member', 'next']);
        expect(nodes.find(({ id }) => id === `alone-${name}`)).toMatchObject({ state: 'SUCCESS', name: null });
      });

      test('tell errors', async () => {
        const { add, fail } = use;
        const handle = await chain(fail.si(1), add.s(2)).send();
        await handle.result(SOON).catch(() => {});
        const { nodes } = await handle.graph();
        expect(nodes.map(({ state, error }) => `${state} ${error}`)).toEqual(Array(2).fill('FAILURE NonRetryableError: as told'));
      });

      test('stop at their limit, and count what is left out', async () => {
        const { add, sum } = use;
        const handle = await chord(group(Array.from({ length: 30 }, () => add.si(1, 1))), sum.s()).send();
        const { nodes, more } = await handle.graph({ limit: 10 });
        expect(nodes).toHaveLength(10);
        expect(more).toBe(22);
        for (const limit of [0, 1.5, 100_001])
          await expect(handle.graph({ limit })).rejects.toMatchObject({ code: 'E_CONFIG_RANGE' });
        await handle.result(SOON);
      });
    });
  });
}
