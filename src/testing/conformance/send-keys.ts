/** Result-store suite: dedupe keys that a store keeps for a broker that cannot. */
import { randomUUID } from 'node:crypto';
import { describe, expect } from 'vitest';
import type { SendKeySwap } from '../../core/send-keys.js';
import type { ResultStore } from '../../results/result-store.js';
import { untilWall } from './broker-kit.js';
import type { ResultSuite } from './result-fixture.js';

export function sendKeysSuite({ can }: ResultSuite): void {
  const swap = (store: ResultStore, change: SendKeySwap): Promise<string | null> => {
    if (!store.swapSendKey) throw new Error('the store says that it keeps dedupe keys, and has no swapSendKey()');
    return store.swapSendKey(change);
  };
  const change = (key: string, expected: string | null, value: string | null, ttlMs = 60_000): SendKeySwap => ({
    ...{ key, expected, value, ttlMs },
  });

  describe('dedupe keys', () => {
    can('sendKeys', 'change hands only if what stands there is as expected', async ({ store, another }) => {
      const key = randomUUID();
      const other = await another();
      expect(await swap(store, change(key, 'x', 'y'))).toBe('');
      expect(await swap(store, change(key, null, 'a'))).toBeNull();
      expect(await swap(other, change(key, null, 'b'))).toBe('a');
      expect(await swap(other, change(key, 'b', 'c'))).toBe('a');
      expect(await swap(other, change(key, 'a', 'c'))).toBeNull();
      expect(await swap(store, change(key, 'a', null))).toBe('c');
      expect(await swap(store, change(key, 'c', null))).toBeNull();
      expect(await swap(store, change(key, null, 'd'))).toBeNull();
    });

    can('sendKeys', 'end with their time, which each change sets anew', async ({ store }) => {
      const key = randomUUID();
      expect(await swap(store, change(key, null, 'a', 300))).toBeNull();
      expect(await swap(store, change(key, 'a', 'b', 600))).toBeNull();
      const setMs = Date.now();
      await untilWall(setMs + 350);
      expect(await swap(store, change(key, null, 'c'))).toBe('b');
      await untilWall(setMs + 650);
      expect(await swap(store, change(key, null, 'd'))).toBeNull();
    });

    can('sendKeys', 'go to one of many who want them at once', async ({ store, another }) => {
      const key = randomUUID();
      const stores = [store, await another(), await another()];
      const answers = await Promise.all(
        Array.from({ length: 300 }, (_, at) => swap(stores[at % stores.length] as ResultStore, change(key, null, `id-${at}`))),
      );
      const winner = answers.indexOf(null);
      expect(answers.filter((answer) => answer === null)).toHaveLength(1);
      expect(new Set(answers.filter((answer) => answer !== null))).toEqual(new Set([`id-${winner}`]));
    });
  });
}
