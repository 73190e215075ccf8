/** Result-store suite: revoked tasks, which some stores remember for brokers that cannot. The set itself is held by `revoking.ts`. */
import { describe, expect } from 'vitest';
import { MOST_REVOCATIONS } from '../../core/timed-set.js';
import type { ResultWrite } from '../../results/result-store.js';
import { until } from './broker-kit.js';
import { type ResultSuite, uniqueId } from './result-fixture.js';

const HOUR_MS = 3_600_000;

export function rememberingSuite({ it, can, patienceMs }: ResultSuite): void {
  describe('remembering revoked tasks', () => {
    it('is shared, ends, and has a version; or is left out, by stores that live in one process', async (fixture) => {
      const { store } = fixture;
      if (store.revocations === undefined) {
        expect(['memory', 'rpc']).toContain(store.name);
        return;
      }
      const [kept, short, other] = [uniqueId('kept'), uniqueId('short'), uniqueId('other')];
      expect(await store.revocations.add([kept], HOUR_MS)).toEqual([true]);
      await store.revocations.add([short], 200);
      const records = (await fixture.another()).revocations;
      if (records === undefined) throw new Error('another connection has no such set');
      const version = await records.version();
      expect(version).toBeGreaterThan(0);
      await until(async () => !(await records.find([short])).has(short), 'the shorter to end', patienceMs);
      expect(await records.find([kept, short, other])).toEqual(new Set([kept]));
      expect(await records.list(10)).toContain(kept);
      await records.add([other], HOUR_MS);
      expect(await store.revocations.version()).not.toBe(version);
    });

    can(
      'readableByAnyone',
      'a REVOKED of who revoked it gives way to how a worker says it ended, and to nothing else',
      async (fixture) => {
        const { store } = fixture;
        const write = (id: string, state: string, children: string): ResultWrite => ({
          ...{ id, state, epoch: 0, ttlMs: HOUR_MS, replyTo: null, correlationId: null },
          meta: `{"status": "${state}", "result": null, "traceback": null, "children": ${children}, "date_done": null, "task_id": "${id}"}`,
        });
        for (const [state, answer] of [
          ['RETRY', 'final'],
          ['STARTED', 'final'],
          ['FAILURE', 'stored'],
          ['REVOKED', 'stored'],
          ['SUCCESS', 'stored'],
        ] as const) {
          const id = uniqueId(state);
          expect(await store.set([write(id, 'REVOKED', 'null')])).toEqual(['stored']);
          expect(await store.set([write(id, state, '[]')]), state).toEqual([answer]);
          const [kept] = await store.get([id]);
          expect(kept).toContain(
            answer === 'stored' ? `"status": "${state}", "result": null, "traceback": null, "children": []` : 'REVOKED',
          );
        }
        const id = uniqueId('by-worker');
        await store.set([write(id, 'REVOKED', '[]')]);
        expect(await store.set([write(id, 'FAILURE', '[]')])).toEqual(['final']);
      },
    );

    it('has room for so many and no more', async ({ store }) => {
      if (store.revocations === undefined) return;
      const ids = Array.from({ length: MOST_REVOCATIONS + 2 }, (_, index) => `${store.name}-${index}`);
      const answers = await store.revocations.add(ids, HOUR_MS);
      expect(answers.filter((isIn) => isIn)).toHaveLength(MOST_REVOCATIONS);
    });
  });
}
