import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import { createFakeClock } from '../../testing/fake-clock.js';
import type { ResultStore, ResultWrite } from '../result-store.js';
import { holdMemoryResults, type MemoryResultsSpaceOptions, openMemoryResultSpaces, openMemoryResults } from './index.js';

const open: { close?(): Promise<void>; release?(): void }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) {
    await one.close?.();
    one.release?.();
  }
  expect(openMemoryResultSpaces()).toBe(0);
});

async function store(url = 'memory:unit'): Promise<ResultStore> {
  const opened = await openMemoryResults({ url, logger: silentLogger, role: 'client' });
  open.push(opened);
  return opened;
}

function space(options?: MemoryResultsSpaceOptions): ReturnType<typeof holdMemoryResults> {
  const held = holdMemoryResults('memory:unit', options);
  open.push(held);
  return held;
}

const write = (id: string, extra: Partial<ResultWrite> = {}): ResultWrite => ({
  id,
  state: 'SUCCESS',
  meta: `meta of ${id}`,
  epoch: 0,
  ttlMs: null,
  replyTo: null,
  correlationId: null,
  ...extra,
});

test('everything is forgotten when the last user closes', async () => {
  const one = await store();
  await one.set([write('x')]);
  await one.close();
  expect(await (await store()).get(['x'])).toEqual([null]);
});

test('a malformed name is refused with E_CONFIG_URL, and a late clock with E_CONFIG_CONFLICT', async () => {
  await expect(store('memory:a/b')).rejects.toMatchObject({ code: 'E_CONFIG_URL' });
  await store();
  expect(() => space({ clock: createFakeClock(0) })).toThrow(expect.objectContaining({ code: 'E_CONFIG_CONFLICT' }));
});

describe('bounds', () => {
  test('at the limit writing and claiming fail with E_BROKER_FULL, and what is there can still be written and read', async () => {
    space({ maxResults: 2 });
    const one = await store();
    await one.set([write('a', { state: 'STARTED' }), write('b')]);
    await expect(one.set([write('c')])).rejects.toMatchObject({ code: 'E_BROKER_FULL' });
    await expect(one.claim('c', { ttlMs: 1_000 })).rejects.toMatchObject({ code: 'E_BROKER_FULL' });
    expect(await one.set([write('a')])).toEqual(['stored']);
    await one.forget(['b']);
    expect(await one.set([write('c')])).toEqual(['stored']);
  });

  test('one expired result anywhere makes room at the limit', async () => {
    const clock = createFakeClock(0);
    for (const expired of [0, 37, 50, 99]) {
      const held = space({ clock, maxResults: 100 });
      const one = await store();
      await one.set(Array.from({ length: 100 }, (_, index) => write(`${index}`, { ttlMs: index === expired ? 1_000 : 60_000 })));
      clock.advance(1_000);
      expect(await one.set([write('new')])).toEqual(['stored']);
      expect(held.size()).toBe(100);
      await expect(one.set([write('one too many')])).rejects.toMatchObject({ code: 'E_BROKER_FULL' });
      await one.close();
      held.release();
    }
  });

  test('a store that is written to for ever keeps only what has not expired, without a timer', async () => {
    const clock = createFakeClock(0);
    const held = space({ clock });
    const one = await store();
    for (let second = 0; second < 100; second += 1) {
      await one.set(Array.from({ length: 100 }, (_, index) => write(`${second}.${index}`, { ttlMs: 5_000 })));
      await one.claim(`claim ${second}`, { ttlMs: 5_000 });
      clock.advance(1_000);
    }
    expect(clock.timers).toBe(0);
    // 500 live results; each write looks at two, so what has expired goes at least as fast as new ones come
    expect(held.size()).toBeLessThan(1_100);
  });

  test('a result ends at its time to the millisecond', async () => {
    const clock = createFakeClock(0);
    space({ clock });
    const one = await store();
    await one.set([write('x', { ttlMs: 1_000 })]);
    clock.advance(999);
    expect(await one.get(['x'])).toEqual(['meta of x']);
    clock.advance(1);
    expect(await one.get(['x'])).toEqual([null]);
    expect(await one.set([write('x', { state: 'FAILURE' })])).toEqual(['stored']);
  });
});

test('a wait that begins while a state is there hears of it', async () => {
  const one = await store();
  await one.set([write('x', { state: 'PROGRESS', meta: 'half' })]);
  const heard: string[] = [];
  const waiting = one.wait('x', { signal: AbortSignal.timeout(5_000) }, (meta) => heard.push(meta));
  await one.set([write('x')]);
  expect(await waiting).toBe('meta of x');
  expect(heard).toEqual(['half']);
});

test('closing one user rejects its own waits and leaves those of others', async () => {
  const [one, two] = [await store(), await store()];
  const mine = expect(one.wait('x', { signal: AbortSignal.timeout(5_000) })).rejects.toMatchObject({ code: 'E_CLOSED' });
  const theirs = two.wait('x', { signal: AbortSignal.timeout(5_000) });
  await one.close();
  await mine;
  await two.set([write('x')]);
  expect(await theirs).toBe('meta of x');
});
