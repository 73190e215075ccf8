/** Results in Redis: Celery's keys and channels, expiries of everything, and what reaches those who listen. */
import { expect, test } from 'vitest';
import type { ResultWrite } from '../../src/results/result-store.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { redisSuite } from './redis-kit.js';

const metaOf = (id: string, status: string): string =>
  JSON.stringify({ status, result: null, traceback: null, children: [], date_done: null, task_id: id });
const write = (id: string, state: string, extra: Partial<ResultWrite> = {}): ResultWrite => ({
  id,
  state,
  meta: metaOf(id, state),
  epoch: 0,
  ttlMs: 60_000,
  replyTo: null,
  correlationId: null,
  ...extra,
});

redisSuite('results in Redis', (kit) => {
  test('lie under Celery’s key, expire, and are published on a channel of that name', async () => {
    const store = await kit.results();
    const listener = kit.admin.duplicate();
    const heard: [string, string][] = [];
    listener.on('message', (channel: string, text: string) => heard.push([channel, text]));
    await listener.subscribe('celery-task-meta-a', 'celery-task-meta-b');
    await store.set([write('a', 'SUCCESS'), write('b', 'FAILURE', { ttlMs: null })]);
    expect(await kit.admin.get('celery-task-meta-a')).toBe(metaOf('a', 'SUCCESS'));
    expect(await kit.admin.pttl('celery-task-meta-a')).toBeGreaterThan(50_000);
    expect(await kit.admin.ttl('celery-task-meta-b')).toBe(-1);
    await until(() => heard.length === 2, 'both messages');
    expect(heard).toEqual([
      ['celery-task-meta-a', metaOf('a', 'SUCCESS')],
      ['celery-task-meta-b', metaOf('b', 'FAILURE')],
    ]);
    listener.disconnect();
  });

  test('are published only when they were written', async () => {
    const store = await kit.results();
    await store.set([write('once', 'SUCCESS')]);
    const listener = kit.admin.duplicate();
    const heard: string[] = [];
    listener.on('message', (_channel: string, text: string) => heard.push(text));
    await listener.subscribe('celery-task-meta-once', 'celery-task-meta-mark');
    expect(
      await store.set([
        write('once', 'FAILURE'),
        write('once', 'SUCCESS', { meta: `${metaOf('once', 'SUCCESS')} ` }),
        write('mark', 'SUCCESS'),
      ]),
    ).toEqual(['final', 'final', 'stored']);
    await until(() => heard.length > 0, 'the mark');
    expect(heard).toEqual([metaOf('mark', 'SUCCESS')]);
    listener.disconnect();
  });

  test('keep no claim without an expiry', async () => {
    const store = await kit.results();
    expect(await store.claim('x', { ttlMs: 40_000 })).toEqual({ epoch: 1 });
    expect(await store.claim('x', { ttlMs: 30_000 })).toEqual({ epoch: 2 });
    await store.set([write('x', 'SUCCESS', { epoch: 2 }), write('never-claimed', 'SUCCESS', { epoch: 3 })]);
    const keys = await kit.admin.keys('*lovage*');
    expect(keys.sort()).toEqual(['lovage:epoch:never-claimed', 'lovage:epoch:x', 'lovage:epochs']);
    for (const key of keys) expect(await kit.admin.pttl(key)).toBeGreaterThan(0);
    expect(await kit.admin.pttl('lovage:epochs')).toBeGreaterThan(30_000);
  });

  test('read metas whose status is not in front, as other writers may put it', async () => {
    const store = await kit.results();
    await kit.admin.set(
      'celery-task-meta-odd',
      JSON.stringify({ task_id: 'odd', nested: { status: 'PENDING' }, status: 'SUCCESS', result: 1 }),
    );
    expect(await store.set([write('odd', 'FAILURE')])).toEqual(['final']);
    expect(await store.claim('odd', { ttlMs: 1_000 })).toEqual({ final: expect.stringContaining('"nested"') });
    expect(await store.wait('odd', { signal: AbortSignal.timeout(5_000) })).toContain('"nested"');
  });

  test.each([
    ['app', 'app_'],
    ['app:', 'app:'],
    ['app-', 'app-'],
  ])('with the prefix %s begin with %s, as Celery’s do', async (prefix, expected) => {
    const store = await kit.results(`${kit.server.url}?prefix=${prefix}`);
    await store.set([write('p', 'SUCCESS')]);
    expect(await kit.admin.keys('*')).toEqual([`${expected}celery-task-meta-p`]);
  });

  test('cost one command for a batch of hundreds', async () => {
    const store = await kit.results();
    await store.set([write('warm', 'SUCCESS')]);
    const commands = await kit.commandsDuring(async () => {
      await store.set(Array.from({ length: 400 }, (_, index) => write(`batch${index}`, 'SUCCESS')));
    });
    expect(commands.map(([name]) => name)).toEqual(['evalsha']);
  });
});
