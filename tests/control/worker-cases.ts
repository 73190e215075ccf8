/** Remote control of a worker of ours, command by command: one suite, run by a file for each broker. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { openBroker } from '../../src/brokers/from-url.js';
import type { Worker, WorkerOptions } from '../../src/index.js';
import { encodeControlRequest } from '../../src/wire/control-message.js';
import { until } from '../worker/harness.js';
import { application, type ControlBroker, silent } from './application.js';
import { ask, askOne } from './ask.js';

const NODE = 'one@suite';

export function controlSuite(name: string, openServer: () => Promise<ControlBroker>): void {
  describe(`a worker on ${name}, by remote control`, () => {
    let server: ControlBroker;
    let broker: Broker;
    let fixture: ReturnType<typeof application>;
    let queue: string;
    let count = 0;
    const workers: Worker[] = [];

    const start = async (options: WorkerOptions = {}): Promise<Worker> => {
      const worker = await fixture.app.worker({
        ...{ name: NODE, pool: 'inline', concurrency: 2, grace: '2s', logger: silent },
        ...options,
      });
      workers.push(worker);
      return worker;
    };
    const one = (method: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> => askOne(broker, method, args);
    const active = async (): Promise<readonly Record<string, unknown>[]> =>
      (await one('active')) as readonly Record<string, unknown>[];

    beforeAll(async () => {
      server = await openServer();
      broker = await openBroker({ url: server.brokerUrl, logger: silent, role: 'engine' });
    }, 60_000);
    afterAll(async () => {
      await broker?.close();
      await server?.close();
    });
    beforeEach(() => {
      count += 1;
      queue = `control${count}`;
      fixture = application(server, queue);
    });
    afterEach(async () => {
      fixture.gate.open();
      await Promise.all(workers.splice(0).map((worker) => worker.close()));
      await fixture.app.close();
    });

    test('answers ping, to everybody, by name and by pattern, and not when others are meant', async () => {
      await start();
      await start({ name: 'two@suite' });
      expect((await ask(broker, 'ping', {}, { count: 2 })).values).toEqual({
        [NODE]: { ok: 'pong' },
        'two@suite': { ok: 'pong' },
      });
      expect((await ask(broker, 'ping', {}, { destination: ['two@suite'] })).values).toEqual({ 'two@suite': { ok: 'pong' } });
      expect((await ask(broker, 'ping', {}, { pattern: 'one@*', matcher: 'glob' })).values).toEqual({ [NODE]: { ok: 'pong' } });
      expect((await ask(broker, 'ping', {}, { pattern: 't.o', matcher: 'pcre' })).values).toEqual({
        'two@suite': { ok: 'pong' },
      });
    });

    test('shows what runs, what waits for a slot, and both by their ids', async () => {
      await start({ concurrency: 1 });
      const handle = await fixture.hold.send({ deep: ['é', 1] });
      await until(() => fixture.gate.started === 1, 'the task runs');
      const [shown] = await active();
      expect(shown).toEqual({
        id: handle.id,
        name: 'suite.hold',
        args: [{ deep: ['é', 1] }],
        kwargs: {},
        type: 'suite.hold',
        hostname: NODE,
        time_start: expect.closeTo(Date.now() / 1_000, -1),
        acknowledged: false,
        delivery_info: { exchange: '', routing_key: queue, priority: 0, redelivered: false },
        worker_pid: process.pid,
      });
      expect(await one('reserved')).toEqual([]);
      expect(await one('scheduled')).toEqual([]);
      expect(await one('query_task', { ids: [handle.id, 'nobody'] })).toEqual({ [handle.id]: ['active', shown] });
      expect(await one('query_task', { ids: handle.id })).toEqual({ [handle.id]: ['active', shown] });
      expect(await one('active', { safe: true })).toEqual([{ ...shown, args: "({'deep': ['é', 1]},)", kwargs: '{}' }]);
      expect(await one('dump_active')).toEqual([shown]);
      fixture.gate.open();
      expect(await handle.result({ timeout: '10s' })).toEqual({ deep: ['é', 1] });
      expect(await active()).toEqual([]);
    });

    test('lists its tasks, with the attributes that are asked for', async () => {
      await start();
      expect(await one('registered')).toEqual(['suite.add [rate_limit=1000/s]', 'suite.hold', 'suite.limited']);
      expect(await one('registered', { taskinfoitems: ['time_limit', 'acks_late', 'nonsense'] })).toEqual([
        'suite.add [acks_late=True]',
        'suite.hold [acks_late=True]',
        'suite.limited [time_limit=2 acks_late=False]',
      ]);
    });

    test('tells its figures in the form of a Python worker', async () => {
      await start();
      await (await fixture.add.send(1, 2)).result({ timeout: '10s' });
      const stats = (await one('stats')) as Record<string, Record<string, unknown>>;
      expect(stats).toMatchObject({
        total: { 'suite.add': 1 },
        pid: process.pid,
        clock: expect.stringMatching(/^\d+$/),
        uptime: expect.any(Number),
        prefetch_count: 2,
        pool: { implementation: 'lovage:inline', 'max-concurrency': 2, processes: [process.pid], timeouts: [0, 0] },
      });
      expect(stats.broker).toHaveProperty('transport', { rabbitmq: 'amqp' }[broker.name] ?? broker.name);
      expect(stats.rusage).toHaveProperty('utime');
      expect(await one('conf')).toMatchObject({ task_default_queue: queue, worker_pool: 'inline', worker_concurrency: 2 });
      expect(await one('report')).toEqual({ ok: expect.stringContaining('software -> lovage:') });
      expect(await one('memsample')).toMatch(/^\d+\.\d\dMB$/);
      expect(await one('memdump')).toHaveProperty('error', expect.stringContaining('NotImplementedError('));
      expect(await one('objgraph')).toHaveProperty('error', expect.stringContaining('NotImplementedError('));
    });

    test('has a logical clock that follows the clocks that it hears', async () => {
      await start();
      const first = (await one('clock')) as { clock: number };
      const second = (await one('clock')) as { clock: number };
      expect(first.clock).toBeGreaterThan(7);
      expect(second.clock).toBeGreaterThan(first.clock);
      const { replies } = await ask(broker, 'ping');
      expect(replies[0]?.clock).toBeGreaterThan(second.clock);
    });

    test('answers what it does not know, and what was asked wrongly, in the words of Python', async () => {
      await start();
      expect(await one('nope', { a: 1 })).toEqual({ error: "KeyError('nope')" });
      expect(await one('enable_events', { a: 1 })).toEqual({
        error: `TypeError("enable_events() got an unexpected keyword argument 'a'")`,
      });
      expect(await one('rate_limit', { task_name: 'suite.add' })).toEqual({
        error: `TypeError("rate_limit() missing 1 required positional argument: 'rate_limit'")`,
      });
      expect(await one('pool_restart', { modules: null, reload: false, reloader: null })).toEqual({
        error: "ValueError('Pool restarts not enabled')",
      });
      expect(await one('autoscale', { max: 4, min: 2 })).toEqual({ error: "ValueError('Autoscale not enabled')" });
      expect(await one('election', { id: 'x', topic: 'task', action: null })).toBeNull();
      expect(await one('heartbeat')).toBeNull();
    });

    test('passes over garbage and goes on', async () => {
      await start();
      const { message } = encodeControlRequest({ method: 'ping' });
      for (const data of ['no json', '[]', '{"method": 5}', '{"method": "ping", "arguments": [1]}'])
        await broker.broadcast({
          exchange: 'celery.pidbox',
          routingKey: '',
          message: { ...message, body: { encoding: 'utf8', data } },
        });
      expect(await one('ping')).toEqual({ ok: 'pong' });
    });

    test('takes a limit of time and of starts, which then hold', async () => {
      await start();
      expect(await one('rate_limit', { task_name: 'suite.add', rate_limit: '10/m' })).toEqual({
        ok: 'new rate limit set successfully',
      });
      expect(await one('time_limit', { task_name: 'suite.hold', hard: 0.3, soft: null })).toEqual({
        ok: 'time limits set successfully',
      });
      expect(await one('registered', { taskinfoitems: ['rate_limit', 'time_limit'] })).toEqual([
        'suite.add [rate_limit=10/m]',
        'suite.hold [time_limit=0.3]',
        'suite.limited [time_limit=2]',
      ]);
      const handle = await fixture.hold.send('too long');
      await expect(handle.result({ timeout: '10s' })).rejects.toThrow(/TimeLimitExceeded/);
      expect(await one('rate_limit', { task_name: 'suite.add', rate_limit: 0 })).toEqual({
        ok: 'rate limit disabled successfully',
      });
      expect(await one('rate_limit', { task_name: 'nope', rate_limit: '10/m' })).toEqual({ error: 'unknown task' });
      expect(await one('time_limit', { task_name: 'nope', hard: 1, soft: 1 })).toEqual({ error: 'unknown task' });
      expect(await one('rate_limit', { task_name: 'suite.add', rate_limit: '10/x' })).toEqual({
        error: expect.stringMatching(/^Invalid rate limit string: /),
      });
    });

    test('begins to consume a queue and stops again', async () => {
      await start();
      const more = `${queue}-more`;
      expect(await one('active_queues')).toMatchObject([{ name: queue, routing_key: queue, exchange: { type: 'direct' } }]);
      expect(await one('add_consumer', { queue: more, exchange: null, exchange_type: 'direct', routing_key: null })).toEqual({
        ok: `add consumer ${more}`,
      });
      const handle = await fixture.add.with({ queue: more }).send(2, 3);
      expect(await handle.result({ timeout: '10s' })).toBe(5);
      expect(await one('active_queues')).toMatchObject([{ name: queue }, { name: more }]);
      expect(await one('cancel_consumer', { queue })).toEqual({ ok: `no longer consuming from ${queue}` });
      expect(await one('active_queues')).toMatchObject([{ name: more }]);
      const waiting = await fixture.add.send(1, 1);
      const passing = await fixture.add.with({ queue: more }).send(4, 4);
      expect(await passing.result({ timeout: '10s' })).toBe(8);
      expect(await one('add_consumer', { queue })).toEqual({ ok: `add consumer ${queue}` });
      expect(await waiting.result({ timeout: '10s' })).toBe(2);
      expect(await one('add_consumer', { queue: 'x', exchange: 'y', exchange_type: 'topic', routing_key: 'z.#' })).toEqual({
        error: expect.stringMatching(/^ValueError\('a Lovage worker consumes x with the direct exchange/),
      });
    });

    test('runs more at a time when its pool grows, and fewer when it shrinks', async () => {
      await start({ concurrency: 1 });
      const handles = await fixture.hold.sendMany(Array.from({ length: 4 }, (_, number) => ({ args: [number] as [unknown] })));
      await until(() => fixture.gate.started === 1, 'one runs');
      expect(await one('pool_grow', { n: 2 })).toEqual({ ok: 'pool will grow' });
      await until(() => fixture.gate.started === 3, 'three run');
      expect(await active()).toHaveLength(3);
      expect(await one('stats')).toMatchObject({ prefetch_count: 3, pool: { 'max-concurrency': 3 } });
      expect(await one('pool_shrink', { n: 2 })).toEqual({ ok: 'pool will shrink' });
      expect(await one('pool_shrink', { n: 1 })).toEqual({ error: 'the pool has 1 slots: it can have 1 to 100000' });
      expect(await one('pool_grow', { n: 'many' })).toEqual({
        error: expect.stringMatching(/^ValueError\("n must be a whole number/),
      });
      fixture.gate.open();
      await Promise.all(handles.map((handle) => handle.result({ timeout: '10s' })));
      fixture.shut();
      fixture.gate.started = 0;
      await fixture.hold.sendMany(Array.from({ length: 3 }, (_, number) => ({ args: [number] as [unknown] })));
      await until(() => fixture.gate.started === 1, 'one runs again');
      expect(await active()).toHaveLength(1);
    });

    test('revokes what waits, and ends what runs', async () => {
      await start({ concurrency: 1 });
      const running = await fixture.hold.send('running');
      await until(() => fixture.gate.started === 1, 'the task runs');
      const waiting = await fixture.hold.send('waiting');
      expect(await one('revoke', { task_id: [waiting.id], terminate: false, signal: 'SIGTERM' })).toEqual({
        ok: `tasks {'${waiting.id}'} flagged as revoked`,
      });
      expect(await one('revoked')).toEqual([waiting.id]);
      expect(await one('terminate', { signal: 'KILL', task_id: 'unknown' })).toEqual({ ok: 'terminate: tasks unknown' });
      // a number, as Flower asks
      expect(await one('revoke', { task_id: running.id, terminate: 1, signal: 'SIGKILL' })).toEqual({
        ok: `terminate: ${running.id}`,
      });
      for (const handle of [running, waiting])
        await expect(handle.result({ timeout: '10s' })).rejects.toThrow(/revoked|terminated/i);
      expect(fixture.gate.started).toBe(1);
      expect(
        await one('revoke_by_stamped_headers', { headers: { mon: ['a', 'b'] }, terminate: false, signal: 'SIGTERM' }),
      ).toEqual({
        ok: "headers {'mon': ['a', 'b']} flagged as revoked, but not terminated",
      });
    });

    test('tells a starting Python worker what was revoked, newest first and within 64 KiB, and learns what that knows', async () => {
      await start();
      const ids = Array.from({ length: 3_000 }, (_, number) => `0000${number}-0000-4000-8000-000000000000`);
      await one('revoke', { task_id: ids });
      const answer = (await one('hello', { from_node: 'py@host', revoked: { theirs: [1.5, 'theirs'] } })) as {
        revoked: Record<string, readonly [number, string]>;
        clock: number;
      };
      expect(answer.clock).toBeGreaterThan(7);
      expect(JSON.stringify(answer).length).toBeLessThanOrEqual(64 * 1_024);
      const told = Object.keys(answer.revoked);
      expect(told.slice(0, 3)).toEqual(['theirs', ids.at(-1), ids.at(-2)]);
      expect(told.length).toBeGreaterThan(300);
      expect(answer.revoked.theirs).toEqual([expect.any(Number), 'theirs']);
      expect(await one('hello', { from_node: NODE, revoked: {} })).toBeNull();
    });

    test('cuts a long list and says so, and gives the rest to a client that asks for it', async () => {
      await start();
      const ids = Array.from({ length: 40_000 }, (_, number) => `revoked-${'x'.repeat(30)}-${number}`);
      await one('revoke', { task_id: ids });
      const cut = (await one('revoked')) as string[];
      expect(cut.at(-1)).toMatch(/^\(\d+ more, left out of this answer\)$/);
      expect(cut.length).toBeLessThan(40_000);
      const pages: string[] = [];
      for (let from: number | null = 0; from !== null; ) {
        const { values, replies } = await ask(broker, 'revoked', { lovage_from: from });
        pages.push(...(values[NODE] as string[]));
        from = replies[0]?.next ?? null;
      }
      expect(pages).toEqual(ids.toReversed());
    });

    test('switches its events on and off', async () => {
      await start({ events: false });
      expect(await one('disable_events')).toEqual({ ok: 'task events already disabled' });
      expect(await one('enable_events')).toEqual({ ok: 'task events enabled' });
      expect(await one('enable_events')).toEqual({ ok: 'task events already enabled' });
      expect(await one('disable_events')).toEqual({ ok: 'task events disabled' });
    });

    test("runs the app's own commands", async () => {
      await start();
      expect(await one('suite_double', { value: 21 })).toEqual({ doubled: 42, nodeName: NODE });
      expect(await one('suite_throw')).toEqual({ error: "RangeError('not today')" });
    });

    test('stops when it is told to, after what runs has ended, and does not reply', async () => {
      const worker = await start();
      await fixture.hold.send('last');
      await until(() => fixture.gate.started === 1, 'the task runs');
      await broker.broadcast(encodeControlRequest({ method: 'shutdown', destination: [NODE] }));
      // one more question shows that the command before it was heard: a worker answers until its tasks have ended
      expect(await one('ping')).toEqual({ ok: 'pong' });
      await fixture.hold.send('never');
      fixture.gate.open();
      expect(await worker.done).toEqual({ exitCode: 0 });
      expect(fixture.gate).toMatchObject({ started: 1, ended: 1 });
    });
  });
}
