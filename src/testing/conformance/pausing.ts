/** Broker suite: pauses are remembered beside the messages, for whoever asks. What a pause does is tested with workers. */
import { describe, expect } from 'vitest';
import type { Broker } from '../../brokers/broker.js';
import { MOST_PAUSES, type Pause, sortPauses } from '../../brokers/pauses.js';
import type { BrokerSuite } from './broker-fixture.js';
import { expectCode, uniqueQueue } from './broker-kit.js';

export function pausingSuite({ it, can }: BrokerSuite): void {
  const mine = async ({ pauses }: Broker, ...names: string[]): Promise<Pause[]> =>
    (await pauses.list()).filter(({ name }) => names.includes(name));
  const both = (...names: string[]) =>
    names.flatMap((name) => [{ kind: 'queue', name } as const, { kind: 'task', name } as const]);

  describe('pauses', () => {
    it('are seen on every connection at once, queues before tasks, until they are removed', async (fixture) => {
      const { broker } = fixture;
      const there = await fixture.another();
      const [a, b] = [uniqueQueue('a'), uniqueQueue('b')];
      expect(await mine(there, a, b)).toEqual([]);
      const taskA = { kind: 'task', name: a, sinceMs: 3 } as const;
      const queueB = { kind: 'queue', name: b, sinceMs: 2 } as const;
      const queueA = { kind: 'queue', name: a, sinceMs: 1 } as const;
      expect(await broker.pauses.add([taskA])).toEqual([true]);
      expect(await there.pauses.add([queueB, queueA])).toEqual([true, true]);
      for (const each of [broker, there]) expect(await mine(each, a, b)).toEqual(sortPauses([queueA, queueB, taskA]));

      expect(await there.pauses.remove([queueA])).toEqual([true]);
      expect(await mine(broker, a, b)).toEqual([queueB, taskA]);
      expect(await broker.pauses.remove(both(a, b))).toEqual([false, true, true, false]);
      expect(await mine(there, a, b)).toEqual([]);
    });

    it('keep their first time when they are made again', async ({ broker: { pauses }, broker }) => {
      const [name, other] = [uniqueQueue('again'), uniqueQueue('other')];
      await pauses.add([{ kind: 'task', name, sinceMs: 1 }]);
      expect(await pauses.add(both(name, other).map((each) => ({ ...each, sinceMs: 2 })))).toEqual([true, false, true, true]);
      expect((await mine(broker, name)).map(({ kind, sinceMs }) => [kind, sinceMs])).toEqual([
        ['queue', 2],
        ['task', 1],
      ]);
      await pauses.remove(both(name, other));
    });

    it('take any name, also one with colons, quotes and other scripts', async ({ broker }) => {
      const name = `${uniqueQueue('odd')}:queue:"x" 🌿`;
      await broker.pauses.add([{ kind: 'task', name, sinceMs: 5 }]);
      expect(await mine(broker, name)).toEqual([{ kind: 'task', name, sinceMs: 5 }]);
      await broker.pauses.remove([{ kind: 'task', name }]);
    });

    it('made by several at the same moment are all remembered', async (fixture) => {
      const brokers = [fixture.broker, await fixture.another(), await fixture.another()];
      const names = Array.from({ length: 6 }, (_, index) => uniqueQueue(`together${index}`));
      await Promise.all(
        names.map((name, index) => (brokers[index % 3] as Broker).pauses.add([{ kind: 'task', name, sinceMs: index }])),
      );
      expect((await mine(fixture.broker, ...names)).map(({ name }) => name)).toEqual([...names].sort());
      await fixture.broker.pauses.remove(both(...names));
    });

    it('are refused beyond a thousand, all that were asked for together', async ({ broker: { pauses } }) => {
      const before = (await pauses.list()).length;
      const prefix = uniqueQueue('many');
      const many = Array.from(
        { length: MOST_PAUSES - before },
        (_, index) => ({ kind: 'task', name: `${prefix}.${index}`, sinceMs: 1 }) as const,
      );
      await expectCode(pauses.add([...many, { kind: 'task', name: prefix, sinceMs: 1 }]), 'E_BROKER_FULL');
      expect(await pauses.list()).toHaveLength(before);
      await pauses.add(many);
      await expectCode(pauses.add([{ kind: 'queue', name: prefix, sinceMs: 1 }]), 'E_BROKER_FULL');
      // what is paused already is no addition
      expect(await pauses.add(many.slice(0, 1))).toEqual([false]);
      expect(await pauses.list()).toHaveLength(MOST_PAUSES);
      await pauses.remove(many);
      expect(await pauses.list()).toHaveLength(before);
    });

    can('restart', 'outlive the broker', async (fixture) => {
      const pause = { kind: 'queue', name: uniqueQueue('restart'), sinceMs: 7 } as const;
      await fixture.broker.pauses.add([pause]);
      await fixture.restart?.();
      const after = await fixture.another();
      await after.connect({ timeoutMs: 30_000 });
      expect(await mine(after, pause.name)).toEqual([pause]);
      await after.pauses.remove([pause]);
    });
  });
}
