/** REVOKED for tasks that a Python client revoked: which of them get it, and that a store which is away keeps nobody. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Logger } from '../../../core/logger.js';
import { silentLogger } from '../../../core/logger.js';
import { openMemoryResults } from '../../../results/memory/index.js';
import type { ResultStore } from '../../../results/result-store.js';
import { decodeResultMeta, encodeResultMeta } from '../../../wire/result-meta.js';
import { type HeardOptions, storeHeard } from './store-heard.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function heard(store: ResultStore, running: readonly string[] = [], logger: Logger = silentLogger): HeardOptions {
  const active = new Map(running.map((id, run) => [run, { headers: { id } }]));
  return { store, logger, hello: { resultTtlMs: 60_000 }, active } as unknown as HeardOptions;
}

const written = (id: string, status: string) => ({
  ...{ id, state: status, epoch: 0, ttlMs: 60_000, replyTo: null, correlationId: null },
  meta: encodeResultMeta({
    ...{ status, resultJson: 'null', traceback: null, children: [], dateDone: 0, taskId: id, groupId: null, parentId: null },
  }),
});

test('what has not begun is REVOKED at once; what runs here, or shows a state, is left alone', async () => {
  const store = await openMemoryResults({ url: 'memory:', logger: silentLogger, role: 'engine' });
  const stood = ['STARTED', 'SUCCESS', 'FAILURE', 'RETRY'];
  await store.set(stood.map((state) => written(state, state)));
  await storeHeard(['unknown', 'running', ...stood], heard(store, ['running']));
  const metas = await store.get(['unknown', 'running', ...stood]);
  expect(metas.map((meta) => (meta === null ? null : decodeResultMeta(meta).status))).toEqual([
    ...['REVOKED', null, 'STARTED', 'SUCCESS', 'FAILURE', 'REVOKED'],
  ]);
  // as who revokes: whatever a worker says of the task later counts more
  expect(decodeResultMeta(metas[0] as string).children).toBeNull();
  await store.close();
});

test('a store whose results only their sender reads is not asked', async () => {
  const get = vi.fn();
  await storeHeard(['a'], heard({ capabilities: { readableByAnyone: 'no' }, get } as unknown as ResultStore));
  expect(get).not.toHaveBeenCalled();
});

test('a store that does not answer, or refuses, is given up with a line in the log', async () => {
  const lines: unknown[] = [];
  const logger = { ...silentLogger, warn: (_: object, text: string) => void lines.push(text) } as Logger;
  const capabilities = { readableByAnyone: true };
  const mute = storeHeard(['a'], heard({ capabilities, get: () => new Promise(() => {}) } as unknown as ResultStore, [], logger));
  await vi.advanceTimersByTimeAsync(5_000);
  await mute;
  const get = (): Promise<never> => Promise.reject(new Error('away'));
  await storeHeard(['a'], heard({ capabilities, get } as unknown as ResultStore, [], logger));
  expect(lines).toHaveLength(2);
});
