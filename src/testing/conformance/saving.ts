/** Result-store suite: saved results of workflows (`results/saved-results.ts`). */
import { describe, expect } from 'vitest';
import { savedIn } from '../../results/saved-results.js';
import { until } from './broker-kit.js';
import { openWriter, type ResultSuite, uniqueId } from './result-fixture.js';

export function savingSuite({ can }: ResultSuite): void {
  describe('saved results', () => {
    can(
      'readableByAnyone',
      'are read by everybody, in the order of the ids, with nothing for what nobody saved',
      async ({ store, another }) => {
        const [first, second, missing] = [uniqueId('first'), uniqueId('second'), uniqueId('missing')];
        const ttlMs = 600_000;
        await savedIn(store).save([
          { id: first, text: '{"result":"é 1"}', ttlMs },
          { id: second, text: '{"result":2}', ttlMs: null },
        ]);
        const others = savedIn(await another());
        expect(await others.load([second, missing, first])).toEqual(['{"result":2}', null, '{"result":"é 1"}']);
        expect(await others.load([])).toEqual([]);
        await others.forget([second]);
      },
      async ({ store }) => {
        expect(() => savedIn(store)).toThrowError(expect.objectContaining({ code: 'E_NOT_SUPPORTED' }) as unknown as Error);
      },
    );

    can('readableByAnyone', 'take the place of what was saved before', async ({ store }) => {
      const saved = savedIn(store);
      const id = uniqueId('again');
      for (const text of ['{"result":1}', '{"result":2}']) await saved.save([{ id, text, ttlMs: 600_000 }]);
      expect(await saved.load([id])).toEqual(['{"result":2}']);
    });

    can('readableByAnyone', 'are no results: the same id has its own, and neither forgets the other', async (fixture) => {
      const { store } = fixture;
      const saved = savedIn(store);
      const writer = await openWriter(fixture);
      const [id, other] = [uniqueId('both'), uniqueId('saved-only')];
      await saved.save([id, other].map((each) => ({ id: each, text: '{"result":1}', ttlMs: 600_000 })));
      expect(await store.get([id, other])).toEqual([null, null]);
      await writer.write(id, 'SUCCESS');
      await writer.arrived();
      await saved.forget([id]);
      expect((await store.get([id]))[0]).toContain('SUCCESS');
      await store.forget([other]);
      expect(await saved.load([id, other])).toEqual([null, '{"result":1}']);
    });

    can('readableByAnyone', 'are kept for their time and no longer', async ({ store }) => {
      const saved = savedIn(store);
      const [short, long] = [uniqueId('short'), uniqueId('long')];
      await saved.save([
        { id: short, text: '{"result":1}', ttlMs: 50 },
        { id: long, text: '{"result":1}', ttlMs: 600_000 },
      ]);
      await until(async () => (await saved.load([short]))[0] === null, 'what was saved for 50 ms is gone');
      expect((await saved.load([long]))[0]).toBe('{"result":1}');
    });
  });
}
