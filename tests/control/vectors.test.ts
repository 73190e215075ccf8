/** The commands against what real Python workers answered (tests/vectors/f-*): the same requests, a worker in the same state. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { checkArguments, errorText, Listing } from '../../src/control/command.js';
import { COMMANDS } from '../../src/control/commands/table.js';
import { LamportClock } from '../../src/control/lamport-clock.js';
import type { HeldTask, TaskInfo, WorkerPort } from '../../src/control/worker-port.js';
import { PoolError } from '../../src/control/worker-port.js';
import { silentLogger } from '../../src/core/logger.js';
import { encodeTaskMessage, readTaskHeaders, type TaskHeaders } from '../../src/wire/task-message.js';

const NODE = 'w1@wire';

interface Info {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly time_start: number | null;
  readonly acknowledged: boolean;
  readonly delivery_info: { readonly routing_key: string; readonly priority: number };
  readonly worker_pid: number | null;
}

interface Recorded {
  readonly method: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly answer: unknown;
}

function recorded(name: string): Recorded {
  const { wire } = JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8')) as {
    wire: {
      request: readonly { readonly body_json: Omit<Recorded, 'answer'> }[];
      replies: readonly { readonly body_json: Readonly<Record<string, unknown>> }[];
    };
  };
  const request = wire.request[0]?.body_json as Omit<Recorded, 'answer'>;
  return { ...request, answer: wire.replies[0]?.body_json[NODE] };
}

/** A task that is held as the vector's info says. */
function held(info: Info): HeldTask {
  const message = encodeTaskMessage(
    {
      task: info.type,
      id: info.id,
      args: info.args,
      kwargs: info.kwargs,
      shadow: info.name === info.type ? null : info.name,
      priority: info.delivery_info.priority,
    },
    { nowMs: 0 },
  );
  return {
    headers: readTaskHeaders(message) as TaskHeaders,
    message,
    queue: info.delivery_info.routing_key,
    redelivered: false,
    acknowledged: info.acknowledged,
    startedAtMs: info.time_start === null ? null : info.time_start * 1_000,
    pid: info.worker_pid,
  };
}

const ACTIVE = (recorded('f-redis-active').answer as Info[]).map(held);
const RESERVED = (recorded('f-redis-reserved').answer as Info[]).map(held);
const SCHEDULED = (recorded('f-redis-scheduled').answer as { eta: string; request: Info }[]).map(({ eta, request }) => ({
  etaMs: Date.parse(eta),
  task: held(request),
}));
const REVOKED = recorded('f-redis-revoked').answer as string[];

/** `name [a=1 b=2]`, as recorded; what is not said is not set. */
function tasks(): TaskInfo[] {
  return (recorded('f-redis-registered-items').answer as string[]).map((text) => {
    const { name = '', items = '' } = /^(?<name>\S+)(?: \[(?<items>.*)\])?$/.exec(text)?.groups ?? {};
    const of = (key: string): string | null => new RegExp(`(?:^| )${key}=(\\S+)`).exec(items)?.[1] ?? null;
    const limit = of('time_limit');
    return {
      name,
      ack: of('acks_late') === 'True' ? 'late' : 'early',
      ignoreResult: false,
      trackStarted: false,
      rateLimit: of('rate_limit'),
      timeLimitMs: limit === null ? null : Number(limit) * 1_000,
      softTimeLimitMs: null,
    };
  });
}

interface State {
  readonly events?: boolean;
  readonly autoscales?: boolean;
  readonly running?: readonly string[];
  readonly queues?: string[];
}

function worker({ events = true, autoscales = false, running = [], queues = ['celery'] }: State): WorkerPort {
  const refuse = (): never => {
    throw new PoolError('Autoscale not enabled');
  };
  return {
    nodeName: NODE,
    active: () => ACTIVE,
    reserved: () => RESERVED,
    scheduled: () => SCHEDULED,
    tasks,
    queues: () => queues,
    declaration: () => null,
    addQueue: (queue) => void queues.push(queue),
    removeQueue: (queue) => void queues.splice(queues.indexOf(queue), 1),
    setTimeLimits: (task) => tasks().some(({ name }) => name === task),
    rateLimits: {
      set: (task, limit) => (tasks().some(({ name }) => name === task) ? (limit === 0 ? null : String(limit)) : undefined),
    },
    revocation: {
      revoke: (ids) => ids.filter((id) => running.includes(id)),
      revokeByStamps: () => [],
      store: async () => {},
      hear: () => {},
      list: () => REVOKED,
    },
    events: { enable: () => !events, disable: () => !events, heartbeat: () => {} },
    pool: { grow: () => {}, shrink: () => {}, autoscale: autoscales ? (max, min) => ({ max: max ?? 0, min: min ?? 0 }) : refuse },
    chordsDue: () => {},
    refreshPauses: async () => ({ queues: [], tasks: [] }),
    custom: { has: () => false, run: async () => null },
    shutdown: () => {},
    figures: () => ({
      ...{ totals: { shown: 1, 'wire.sleep_late': 1 }, uptimeMs: 22_100, pool: 'threads', slots: 2, pids: [29080, 29081] },
      ...{ tasksPerExecutor: null, timeLimitMs: null, softTimeLimitMs: null, brokerUrl: 'redis://localhost:16390/0' },
    }),
    settings: () => ({}),
  } as WorkerPort;
}

async function answer(name: string, state: State = {}): Promise<unknown> {
  const { method, arguments: args } = recorded(name);
  const clock = new LamportClock();
  for (let tick = 0; tick < 53; tick += 1) clock.tick();
  const command = COMMANDS.get(method);
  try {
    if (!command) throw Object.assign(new Error(method), { name: 'KeyError' });
    checkArguments(command, args);
    const value = await command.run(args, { port: worker(state), clock, logger: silentLogger });
    // as it goes over the wire
    return JSON.parse(
      JSON.stringify(value instanceof Listing ? [...value.items].map((show) => show()) : (value ?? null)),
    ) as unknown;
  } catch (error) {
    return { error: errorText(error) };
  }
}

const ID = '00006910-0000-4000-8000-000000006910';

describe('commands answer as the recorded Python worker', () => {
  test.each<[name: string, state?: State]>([
    ['f-redis-ping'],
    ['f-redis-ping-destination'],
    ['f-redis-ping-pattern-glob'],
    ['f-redis-clock'],
    ['f-redis-active'],
    ['f-redis-active-safe'],
    ['f-redis-reserved'],
    ['f-redis-query-task'],
    ['f-redis-registered'],
    ['f-redis-registered-items'],
    ['f-redis-revoked'],
    ['f-redis-active-queues'],
    ['f-amqp-active-queues'],
    ['f-redis-revoke'],
    ['f-redis-revoke-many'],
    ['f-redis-revoke-stamped'],
    ['f-redis-terminate-unknown'],
    ['f-redis-terminate', { running: ['00006001-0000-4000-8000-000000006001'] }],
    ['f-redis-terminate-command', { running: ['00006002-0000-4000-8000-000000006002'] }],
    ['f-redis-rate-limit'],
    ['f-redis-rate-limit-off'],
    ['f-redis-rate-limit-unknown'],
    ['f-redis-time-limit'],
    ['f-redis-pool-grow'],
    ['f-redis-pool-shrink'],
    ['f-redis-pool-restart'],
    ['f-redis-autoscale'],
    ['f-redis-autoscale-on', { autoscales: true }],
    ['f-redis-add-consumer'],
    ['f-redis-cancel-consumer', { queues: ['celery', 'extra'] }],
    ['f-redis-enable-events'],
    ['f-redis-enable-events-cold', { events: false }],
    ['f-redis-heartbeat'],
    ['f-redis-election'],
    ['f-redis-unknown-command'],
    ['f-redis-bad-args'],
    ['f-526-redis-ping'],
    ['f-526-redis-rate-limit'],
    ['f-526-redis-unknown-command'],
    ['f-526-redis-add-consumer'],
  ])('%s', async (name, state) => {
    expect(await answer(name, state)).toEqual(recorded(name).answer);
  });

  test('f-redis-scheduled, to the millisecond', async () => {
    const cut = (answer: unknown): unknown => JSON.parse(JSON.stringify(answer).replace(/(\.\d{3})\d{3}\+00:00/, '$1000+00:00'));
    expect(await answer('f-redis-scheduled')).toEqual(cut(recorded('f-redis-scheduled').answer));
  });

  test('f-redis-stats, with the same fields but those of its machinery', async () => {
    const [ours, theirs] = [await answer('f-redis-stats'), recorded('f-redis-stats').answer] as Record<
      string,
      Record<string, unknown>
    >[];
    const missing = (part: string): string[] =>
      Object.keys(theirs?.[part] ?? {}).filter((key) => !Object.hasOwn(ours?.[part] ?? {}, key));
    expect(Object.keys(ours ?? {}).sort()).toEqual(Object.keys(theirs ?? {}).sort());
    expect([missing('pool'), missing('broker'), missing('rusage')]).toEqual([['writes'], ['credential_provider'], []]);
    expect(ours).toMatchObject({
      total: theirs?.total,
      uptime: 22,
      clock: '53',
      pool: { 'max-concurrency': 2, 'max-tasks-per-child': 'N/A', processes: [29080, 29081], timeouts: [0, 0] },
      broker: { hostname: 'localhost', port: 16390, transport: 'redis', virtual_host: '0', alternates: [] },
    });
  });

  test('f-redis-hello, with each id and a time that orders them', async () => {
    const { revoked, clock } = (await answer('f-redis-hello')) as { revoked: Record<string, [number, string]>; clock: number };
    expect(clock).toBe(54);
    expect(Object.keys(revoked)).toEqual(REVOKED);
    const times = Object.values(revoked).map(([at]) => at);
    expect(times).toEqual(times.toSorted((a, b) => b - a));
    expect(revoked[ID]?.[1]).toBe(ID);
  });

  test('f-redis-shutdown by no reply at all', () => {
    expect(recorded('f-redis-shutdown').answer).toBeUndefined();
    expect(typeof COMMANDS.get('shutdown')?.run({}, { port: worker({}), clock: new LamportClock(), logger: silentLogger })).toBe(
      'symbol',
    );
  });
});
