/**
 * Drill 5: fifty workers and three schedulers with nothing to do. Fleets that poll cost a broker more than their work does, the more
 * the more workers there are; here nothing may be asked that nobody needs. Then somebody inspects them all, who must not wait.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beatStoreUrl, openBeatStore } from '../src/beat/from-url.js';
import { silentLogger } from '../src/core/logger.js';
import type { Door } from './harness/commands.js';
import { median } from './harness/memory.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { pause, until } from './harness/wait.js';
import { A_MINUTE, commitsDuring, countCommands, type Member, settle, type Watched, Ways, watch } from './harness/watching.js';
import type { Fleet } from './harness/workers.js';

const LOVAGE = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const SCHEDULES = fileURLToPath(new URL('./apps/resting.ts', import.meta.url));
const ASKING = fileURLToPath(new URL('./apps/asking.ts', import.meta.url));
const TSX = createRequire(import.meta.url).resolve('tsx/cli');

const SCHEDULERS = 3;
const STARTED_AT_ONCE = 5;
const MANY_QUEUES = 10;
const WORKER_COMMANDS = 10;
const STANDBY_COMMANDS = 20;
const LEADER_COMMANDS = 60;
/** Of one core. */
const CPU_SHARE = 0.3;
const INSPECT_MS = 300;

interface Sizes {
  readonly workers: number;
  /** How long the whole fleet is watched; workers of a file are watched alone before. */
  readonly watchedMs: number;
  readonly aloneMs: number;
  /** What a process does in its first half minute, compiling and collecting, is its start and not its rest. */
  readonly restMs: number;
  /** How often each command is asked. */
  readonly rounds: number;
}

function sizesOf({ size, broker }: Kit): Sizes {
  if (size === 'full') return { workers: 50, watchedMs: A_MINUTE, aloneMs: A_MINUTE, restMs: 30_000, rounds: 10 };
  // Workers do something every 15 and every 30 s on a server. On a file they must not, and what they would do most often is every 20 s.
  return { workers: 10, watchedMs: broker.name === 'file' ? 20_000 : 30_000, aloneMs: 21_000, restMs: 0, rounds: 3 };
}

class Play {
  readonly #kit: Kit;
  readonly #scene: Scene;
  readonly #sizes: Sizes;
  readonly #doors: Door[] = [];
  readonly #members: Member[] = [];
  readonly #schedulers: { readonly child: ChildProcess; readonly member: Member }[] = [];

  constructor(kit: Kit, scene: Scene) {
    this.#kit = kit;
    this.#scene = scene;
    this.#sizes = sizesOf(kit);
  }

  async run(): Promise<void> {
    const { broker, claim, figure } = this.#kit;
    const { workers, watchedMs, aloneMs, restMs } = this.#sizes;
    const one = await this.#workers('one', workers / 2, 'idle');
    const many = await this.#workers('many', workers / 2, Array.from({ length: MANY_QUEUES }, (_, i) => `idle${i}`).join(','));
    const fleet = [...one.members, ...many.members];
    this.#members.push(...fleet);
    if (broker.name === 'file') {
      await settle(fleet);
      const written = await commitsDuring(broker.brokerUrl, () => pause(aloneMs));
      claim(`commits to the file by ${workers} workers`, written, { equals: 0 });
    }
    const leader = await this.#startSchedulers();
    const schedulers = this.#schedulers.map(({ member }) => member);
    await settle([...fleet, ...schedulers]);
    await pause(restMs);
    let watched: Watched[] = [];
    const watchAll = async (): Promise<void> => {
      watched = await watch([...fleet, ...schedulers], watchedMs);
    };
    if (broker.name === 'file') {
      const written = (await commitsDuring(broker.brokerUrl, watchAll)) * (A_MINUTE / watchedMs);
      claim(`commits to the file a minute by a leader and ${SCHEDULERS - 1} standbys`, written, { atMost: LEADER_COMMANDS });
    } else await watchAll();
    const ofOne = watched.slice(0, one.members.length);
    const ofMany = watched.slice(one.members.length, fleet.length);
    const ofSchedulers = watched.slice(fleet.length);
    if (broker.name !== 'file') {
      this.#claimCommands('commands a minute of a worker of 1 queue, the most', ofOne, WORKER_COMMANDS);
      this.#claimCommands(`commands a minute of a worker of ${MANY_QUEUES} queues, the most`, ofMany, WORKER_COMMANDS);
      const standby = ofSchedulers.filter(({ name }) => name !== leader);
      this.#claimCommands('commands a minute of a scheduler that stands by, the most', standby, STANDBY_COMMANDS);
      this.#claimCommands(
        'commands a minute of the scheduler that leads',
        ofSchedulers.filter(({ name }) => name === leader),
        LEADER_COMMANDS,
      );
      const beats = Math.max(...watched.map(({ heartbeats }) => heartbeats));
      if (broker.name === 'rabbitmq') figure('signs of life of a worker’s connections, the most', Math.round(beats), 'a minute');
    }
    for (const [who, group] of [
      ['worker', [...ofOne, ...ofMany]],
      ['scheduler', ofSchedulers],
    ] as const) {
      const shares = group.map(({ cpu }) => cpu);
      claim(`processor of a ${who}, of one core, the most`, Math.max(...shares), { atMost: CPU_SHARE }, '%');
      figure(`processor of a ${who}, of one core, the median`, Math.round(median(shares) * 1_000) / 1_000, '%');
    }
    await this.#inspect();
    await this.#claimSeen();
    const crashes = [...one.fleets, ...many.fleets].reduce((sum, fleet) => sum + fleet.crashes.length, 0);
    claim('workers that ended by themselves', crashes, { equals: 0 });
    claim('schedulers that ended by themselves', this.#schedulers.filter(({ child }) => child.exitCode !== null).length, {
      equals: 0,
    });
  }

  async close(): Promise<void> {
    await Promise.all(
      this.#schedulers.map(({ child }) => {
        const ended = new Promise((resolve) => child.once('exit', resolve));
        if (child.exitCode !== null || child.signalCode !== null || !child.kill('SIGTERM')) return;
        const late = setTimeout(() => child.kill('SIGKILL'), 20_000);
        return ended.then(() => clearTimeout(late));
      }),
    );
    await this.#scene.close();
    await Promise.all(this.#doors.map((door) => door.close()));
  }

  #claimCommands(sentence: string, group: readonly Watched[], atMost: number): void {
    const [busiest] = [...group].sort((a, b) => b.commands - a.commands);
    this.#kit.claim(sentence, busiest?.commands ?? null, { atMost });
    if (busiest) this.#kit.figure(`${sentence}: what it sent`, busiest.told);
  }

  /** A few after the other: fifty that start at once on two cores take longer than any of them should. */
  async #workers(name: string, count: number, queue: string): Promise<{ readonly fleets: Fleet[]; readonly members: Member[] }> {
    const fleets: Fleet[] = [];
    const members: Member[] = [];
    for (let started = 0; started < count; started += STARTED_AT_ONCE) {
      const few = Math.min(STARTED_AT_ONCE, count - started);
      const folder = join(this.#kit.folder, `${name}-${started}`);
      mkdirSync(folder);
      const ways = await Promise.all(Array.from({ length: few }, () => Ways.open(this.#kit.broker)));
      this.#doors.push(...ways.flatMap(({ doors }) => doors));
      const urls = (worker: number): Ways => ways[worker - 1] as Ways;
      const flags = ['--name', `${name}%p@%h`];
      const fleet = await this.#scene.fleet({ folder, count: few, queue, urls, flags });
      fleets.push(fleet);
      for (const [index, { pid }] of fleet.workers.entries())
        members.push({ name: `${name} ${pid}`, pid, doors: urls(index + 1).doors });
    }
    return { fleets, members };
  }

  /** Resolves with the name of the one that leads. */
  async #startSchedulers(): Promise<string> {
    const { broker, folder } = this.#kit;
    for (let index = 1; index <= SCHEDULERS; index += 1) {
      const name = `beat${index}`;
      const ways = await Ways.open(broker);
      this.#doors.push(...ways.doors);
      const log = openSync(join(folder, `${name}.log`), 'a');
      const urls = ['--broker', ways.broker, '--results', ways.results];
      const child = spawn(
        process.execPath,
        [LOVAGE, 'beat', '--app', SCHEDULES, ...urls, '--name', name, '--log-format', 'json'],
        { stdio: ['ignore', log, log] },
      );
      closeSync(log);
      const kill = (): void => void child.kill('SIGKILL');
      process.once('exit', kill);
      child.once('exit', () => process.off('exit', kill));
      this.#schedulers.push({ child, member: { name, pid: child.pid ?? -1, doors: ways.doors } });
    }
    const { brokerUrl } = broker;
    const store = await openBeatStore({ url: beatStoreUrl(broker), app: 'drills-resting', logger: silentLogger, brokerUrl });
    try {
      let owner = '';
      await until(async () => (owner = (await store.lead()).owner?.split('#')[0] ?? '') !== '', 'a scheduler leads', 60_000);
      await pause(2_000);
      return owner;
    } finally {
      await store.close();
    }
  }

  /** That nothing was seen means something only where something would have been seen. */
  async #claimSeen(): Promise<void> {
    const { broker, claim } = this.#kit;
    const { sender, ledger } = this.#scene;
    const run = async (): Promise<void> => {
      const id = await sender.send('drill.append', 0);
      await until(() => ledger.read().executed.has(id), 'a task has run', 30_000);
    };
    if (broker.name === 'file')
      return claim('commits that are seen when one task is sent', await commitsDuring(broker.brokerUrl, run), { atLeast: 1 });
    const sent = (): number => this.#members.reduce((sum, member) => sum + countCommands(member), 0);
    const before = sent();
    await run();
    claim('commands of workers that are seen when one task is sent', sent() - before, { atLeast: 1 });
  }

  /** As somebody does who wants to know what goes on: in a process of its own. */
  async #inspect(): Promise<void> {
    const { broker, claim, figure } = this.#kit;
    const { workers, rounds } = this.#sizes;
    const command = [TSX, ASKING, broker.brokerUrl, broker.resultUrl, String(rounds)];
    const { stdout } = await promisify(execFile)(process.execPath, command, { maxBuffer: 16 * 1_024 * 1_024 });
    const { connectMs, firstMs, firstNodes, asked } = JSON.parse(stdout) as {
      readonly connectMs: number;
      readonly firstMs: number;
      readonly firstNodes: number;
      readonly asked: Readonly<Record<string, { readonly ms: readonly number[]; readonly nodes: number }>>;
    };
    claim('workers that answered the first question', firstNodes, { equals: workers });
    // RabbitMQ says nobody how many listen, so the first question of a client waits for its timeout there.
    if (broker.name !== 'rabbitmq')
      claim('the first question of a client that has connected', firstMs, { atMost: INSPECT_MS }, 'ms');
    figure('connecting, with loading the driver', Math.round(connectMs), 'ms');
    for (const [name, { ms, nodes }] of Object.entries(asked)) {
      claim(`inspect ${name}: workers that answered, the fewest`, nodes, { equals: workers });
      claim(`inspect ${name}: time, the middle of ${ms.length}`, median(ms), { atMost: INSPECT_MS }, 'ms');
      figure(`inspect ${name}: the slowest`, Math.round(Math.max(...ms)), 'ms');
    }
  }
}

export const drill: Drill = {
  name: 'idle-fleet',
  scenario:
    '50 workers, of 1 queue and of 10, and 3 schedulers have nothing to do for a minute; what each sends to its broker is counted. Then a client inspects all of them.',
  brokers: ['file', 'redis', 'rabbitmq'],
  // Processor time and answers within 300 ms are tight for a machine that is busy with something else.
  testedOn: [],
  async run(kit) {
    // each group of workers and each scheduler is ended with this process
    process.setMaxListeners(50);
    const play = new Play(kit, new Scene(kit, 'idle', '15s'));
    try {
      await play.run();
    } finally {
      await play.close();
    }
  },
};
