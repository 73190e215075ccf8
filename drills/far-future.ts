/**
 * Drill 15: very many tasks whose time is days away, and some that are due within a minute, from both languages. The worker must
 * not feel the far ones, must start the others on time and never early, and one of the million must be as cheap to take back as one
 * of a few.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { BoundTask } from 'lovage';
import type { Broker } from '../src/brokers/broker.js';
import { openBroker } from '../src/brokers/from-url.js';
import { silentLogger } from '../src/core/logger.js';
import { median, probedBy, type Reading, readMemory } from './harness/memory.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { pause, until } from './harness/wait.js';

const PYTHON_CLIENT = fileURLToPath(new URL('./apps/far_future.py', import.meta.url));
const DAY_MS = 86_400_000;
const ROWS_AT_ONCE = 2_000;
/** Each sends one by one, and a durable broker writes each to its disk. */
const PYTHON_CLIENTS = 4;
/** From the last look at the empty worker to the first task; and what the worker is left alone at the end. */
const QUIET_MS = 12_000;
const PROBE_MS = 1_000;
const SPAN_MS = 2_000;

interface Sizes {
  readonly far: number;
  readonly due: number;
  /** Over how long the due ones are spread. */
  readonly overMs: number;
  /** From the start of their sending to the first of them. */
  readonly leadMs: number;
  /** Tasks taken back, of the far ones and of the due ones each. */
  readonly cancelled: number;
}

/** Tasks that were taken back one by one. */
interface Cancelled {
  readonly ids: readonly string[];
  readonly removed: number;
  /** How long each took. */
  readonly ms: readonly number[];
}

/** Below which a tenth of them are: what it costs where nothing else disturbs. */
const quick = (ms: readonly number[]): number => [...ms].sort((a, b) => a - b)[Math.floor(ms.length / 10)] ?? Number.NaN;

function sizesOf({ size, broker }: Kit): Sizes {
  if (size === 'quick') return { far: 10_000, due: 600, overMs: 12_000, leadMs: 10_000, cancelled: 50 };
  return { far: broker.name === 'rabbitmq' ? 100_000 : 1_000_000, due: 10_000, overMs: 60_000, leadMs: 30_000, cancelled: 500 };
}

class Play {
  readonly #kit: Kit;
  readonly #sizes: Sizes;
  readonly #scene: Scene;
  readonly #task: BoundTask<[ms: number], unknown>;
  /** When each task is due, by its id; only of those that are due during the drill. */
  readonly #due = new Map<string, number>();
  readonly #memoryFile: string;

  constructor(kit: Kit, scene: Scene) {
    this.#kit = kit;
    this.#scene = scene;
    this.#sizes = sizesOf(kit);
    this.#memoryFile = join(kit.folder, 'memory');
    const task = scene.sender.app.remote<[ms: number], unknown>('drill.append', { delays: 'broker', ignoreResult: true });
    // A busy RabbitMQ takes its time to confirm them.
    this.#task = task.with({ timeout: '2m' });
  }

  async run(): Promise<void> {
    const { broker: server } = this.#kit;
    const broker = await openBroker({ url: server.brokerUrl, logger: silentLogger, role: 'client' });
    try {
      const fleet = await this.#scene.fleet({ count: 1, concurrency: 50, nodeFlags: probedBy(this.#memoryFile, PROBE_MS) });
      await this.#warmUp();
      const emptyMs = Date.now();
      const few = await this.#sendFar(this.#sizes.cancelled);
      const ofFew = await this.#cancel(few.slice(0, this.#sizes.cancelled));
      const far = await this.#far(broker);
      const ofMany = await this.#cancel(far.slice(0, this.#sizes.cancelled));
      await this.#dueOnes();
      await pause(QUIET_MS);
      this.#judgeMemory(emptyMs);
      this.#judgeTimes();
      await this.#judgeCancels(broker, ofFew, ofMany);
      this.#kit.claim('ends of the worker', fleet.crashes.length, { equals: 0 });
    } finally {
      await broker.close();
    }
  }

  /** Code is compiled, caches fill; then it has nothing to do for a while. */
  async #warmUp(): Promise<void> {
    const rows = Array.from({ length: 1_000 }, (_, index) => ({
      args: [0] as [number],
      options: { eta: new Date(Date.now() + 1_000 + index) },
    }));
    const { sender, ledger } = this.#scene;
    await sender.sendMany('drill.append', rows);
    await this.#task.sendMany(rows);
    await until(() => ledger.read().executed.size === 2 * rows.length, 'the worker is warm', 60_000);
    await pause(QUIET_MS);
  }

  /** Straight into the delay store; ids. */
  async #sendFar(count: number): Promise<string[]> {
    const ids: string[] = [];
    while (ids.length < count) {
      const rows = Array.from({ length: Math.min(ROWS_AT_ONCE, count - ids.length) }, () => ({
        args: [0] as [number],
        options: { eta: new Date(Date.now() + DAY_MS * (1 + 29 * this.#kit.random.next())) },
      }));
      for (const { id } of await this.#task.sendMany(rows)) ids.push(id);
    }
    return ids;
  }

  /** Half of them by Python, where Python can; the worker moves those into the delay store. Ids of ours. */
  async #far(broker: Broker): Promise<string[]> {
    const { far } = this.#sizes;
    const byPython = this.#kit.broker.name === 'file' ? 0 : far / 2;
    const startMs = performance.now();
    const python = Promise.all(
      Array.from({ length: byPython > 0 ? PYTHON_CLIENTS : 0 }, () =>
        this.#python('far', byPython / PYTHON_CLIENTS, this.#kit.random.next()),
      ),
    );
    const ids = await this.#sendFar(far - byPython);
    await python;
    await this.#emptyQueue(broker);
    this.#kit.figure('tasks with an eta in 1 to 30 days', far);
    this.#kit.figure('tasks with an eta in 1 to 30 days, sent by Python', byPython);
    this.#kit.figure('time to send and store them', Math.round((performance.now() - startMs) / 1_000), 's');
    return ids;
  }

  /** Nothing waits in the queue itself: what Python has put there is in the delay store. */
  async #emptyQueue(broker: Broker): Promise<void> {
    const { queue } = this.#scene;
    await until(async () => (await broker.depth([queue]))[0]?.ready === 0, 'the queue itself is empty', 1_200_000);
    await pause(2_000);
  }

  /** Sends what is due soon, from both languages, takes some of it back, and waits until the rest has run. */
  async #dueOnes(): Promise<void> {
    const { due, overMs, leadMs, cancelled } = this.#sizes;
    const { ledger } = this.#scene;
    const byPython = this.#kit.broker.name === 'file' ? 0 : due / 2;
    const fromMs = Date.now() + leadMs;
    const stepMs = overMs / (due - byPython);
    const python = byPython > 0 ? this.#python('due', byPython, fromMs, overMs / byPython) : null;
    const dues = Array.from({ length: due - byPython }, (_, index) => Math.floor(fromMs + index * stepMs));
    const handles = await this.#task.sendMany(dues.map((at) => ({ args: [0], options: { eta: new Date(at) } })));
    handles.forEach(({ id }, index) => this.#due.set(id, dues[index] as number));
    for (const line of (await python)?.split('\n') ?? []) {
      const [id, at] = line.split(' ');
      if (id && at) this.#due.set(id, Number(at));
    }
    // those that are due last: nobody can have begun them yet
    const revoked = handles.slice(-cancelled);
    for (const handle of revoked) await handle.revoke();
    const tookMs = Date.now() - (fromMs - leadMs);
    this.#kit.claim('time to send what is due soon', tookMs, { atMost: leadMs }, 'ms');
    for (const { id } of revoked) this.#due.delete(id);
    const ran = (): number => [...this.#due.keys()].filter((id) => ledger.read().executed.has(id)).length;
    await pause(leadMs - tookMs + overMs);
    await until(() => ran() === this.#due.size, 'every task that was due has run', 60_000).catch(() => undefined);
    this.#kit.claim('tasks that were due and did not run', this.#due.size - ran(), { equals: 0 });
    const { runs } = ledger.read();
    this.#kit.claim('revoked tasks that ran', revoked.filter(({ id }) => runs.has(id)).length, { equals: 0 });
    this.#kit.claim('tasks that ran twice', [...this.#due.keys()].filter((id) => runs.get(id)?.length !== 1).length, {
      equals: 0,
    });
  }

  #judgeTimes(): void {
    const { runs } = this.#scene.ledger.read();
    const late = [...this.#due].flatMap(([id, dueMs]) => (runs.get(id) ?? []).map(({ startMs }) => startMs - dueMs));
    late.sort((a, b) => a - b);
    const at = (share: number): number => late[Math.floor((late.length - 1) * share)] ?? Number.NaN;
    const boundMs = this.#kit.broker.name === 'rabbitmq' ? 500 : 250;
    this.#kit.claim('tasks that were due soon', late.length, { atLeast: this.#sizes.due - this.#sizes.cancelled });
    this.#kit.claim('start of a task after its eta, the earliest', at(0), { atLeast: 0 }, 'ms');
    this.#kit.claim('start of a task after its eta, p99', at(0.99), { atMost: boundMs }, 'ms');
    this.#kit.figure('start of a task after its eta, p50', at(0.5), 'ms');
    this.#kit.figure('start of a task after its eta, the latest', at(1), 'ms');
  }

  /** Over what the same worker held with nothing to do. */
  #judgeMemory(emptyMs: number): void {
    const { living, resident } = readMemory(this.#memoryFile, SPAN_MS);
    const over = (readings: readonly Reading[]): { readonly most: number; readonly end: number } => {
      const empty = median(
        readings.filter(({ atMs }) => atMs > emptyMs - QUIET_MS / 2 && atMs <= emptyMs).map(({ value }) => value),
      );
      const after = readings.filter(({ atMs }) => atMs > emptyMs).map(({ value }) => value);
      return { most: Math.max(...after) - empty, end: (after.at(-1) ?? Number.NaN) - empty };
    };
    this.#kit.claim('what lives in the worker’s memory over the empty one, the most', over(living).most, { atMost: 8 }, 'MiB');
    this.#kit.claim('what lives in the worker’s memory over the empty one, at the end', over(living).end, { atMost: 8 }, 'MiB');
    this.#kit.figure('resident memory over the empty worker’s, the most', over(resident).most, 'MiB');
    this.#kit.figure('resident memory over the empty worker’s, at the end', over(resident).end, 'MiB');
  }

  /** Takes them back one by one; what came of each, and how long each took. */
  async #cancel(ids: readonly string[]): Promise<Cancelled> {
    const ms: number[] = [];
    let removed = 0;
    for (const id of ids) {
      const startMs = performance.now();
      if ((await this.#scene.sender.app.handle(id).revoke()) === 'removed') removed += 1;
      ms.push(performance.now() - startMs);
    }
    return { ids, removed, ms };
  }

  async #judgeCancels(broker: Broker, few: Cancelled, many: Cancelled): Promise<void> {
    const { far } = this.#sizes;
    const { queue } = this.#scene;
    this.#kit.figure('taking back one of a few, the quicker tenth', quick(few.ms), 'ms');
    this.#kit.figure('taking back one of all, the quicker tenth', quick(many.ms), 'ms');
    // where the broker cannot look into its store they are dropped at their eta; the due ones above show that
    if (broker.capabilities.withdraws !== true) return;
    this.#kit.claim('far tasks taken back that were removed at once', few.removed + many.removed, {
      equals: few.ids.length + many.ids.length,
    });
    const [depth] = await broker.depth([queue]);
    this.#kit.claim('tasks that still wait', depth?.delayed ?? null, { equals: far - many.ids.length });
    this.#kit.claim('taking back one of all, over one of a few', quick(many.ms) / quick(few.ms), { atMost: 5 }, 'times');
  }

  /** What the Python client printed. */
  async #python(...args: readonly (string | number)[]): Promise<string> {
    const { brokerUrl } = this.#kit.broker;
    const command = [PYTHON_CLIENT, brokerUrl, this.#scene.queue, ...args.map(String)];
    const { stdout } = await promisify(execFile)('/usr/bin/python3', command, { maxBuffer: 64 * 1024 * 1024 });
    return stdout;
  }
}

export const drill: Drill = {
  name: 'far-future',
  scenario:
    '1,000,000 tasks (RabbitMQ: 100,000) with an eta in 1 to 30 days wait, sent half by Python and half by TypeScript; then 10,000 that are due within the next minute. Some of both are taken back.',
  brokers: ['file', 'redis', 'rabbitmq'],
  // The bound of the lateness is tight for a server that shares a busy machine.
  testedOn: ['file'],
  async run(kit) {
    const scene = new Scene(kit, 'far', '15s');
    try {
      await new Play(kit, scene).run();
    } finally {
      await scene.close();
    }
  },
};
