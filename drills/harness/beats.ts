/**
 * Schedulers of a drill: `lovage beat` under a real supervisord, what their store says of lead and entries, and the messages that lie in
 * queues from which nobody takes. What is sent and what runs is judged by `slots.ts`.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BeatStore } from '../../src/beat/beat-store.js';
import { decodeState, type EntryState } from '../../src/beat/entry-state.js';
import { beatStoreUrl, openBeatStore } from '../../src/beat/from-url.js';
import type { Broker } from '../../src/brokers/broker.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import type { DrillBroker } from './brokers.js';
import type { Kit } from './scene.js';
import type { Stretch } from './slots.js';
import { type Program, Supervisord } from './supervisord.js';
import { until } from './wait.js';

const LOVAGE = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** More messages than any drill leaves in a queue. */
const MOST_PEEKED = 20_000;

export interface BeatsOptions {
  /** Of the scene: its app is `drills-<scene>`, defined in `drills/apps/beating-<scene>.ts`. */
  readonly scene: string;
  readonly count: number;
  readonly nodeFlags?: readonly string[];
  /** Another one than the drill's own. */
  readonly broker?: DrillBroker;
}

export class Beats {
  readonly supervisor: Supervisord;
  readonly store: BeatStore;
  readonly broker: Broker;
  readonly names: readonly string[];
  readonly #app: string;

  private constructor(supervisor: Supervisord, store: BeatStore, broker: Broker, names: readonly string[], app: string) {
    this.supervisor = supervisor;
    this.store = store;
    this.broker = broker;
    this.names = names;
    this.#app = app;
  }

  /** Starts them; resolves once one leads and all others stand by. */
  static async start(kit: Kit, { scene, count, nodeFlags = [], broker: place = kit.broker }: BeatsOptions): Promise<Beats> {
    const { brokerUrl, resultUrl } = place;
    const folder = join(kit.folder, scene);
    mkdirSync(folder);
    const app = `drills-${scene}`;
    const file = fileURLToPath(new URL(`../apps/beating-${scene}.ts`, import.meta.url));
    const names = Array.from({ length: count }, (_, index) => `beat${index + 1}`);
    const program = (name: string): Program => ({
      name,
      command: [
        ...[process.execPath, ...nodeFlags, LOVAGE, 'beat', '--app', file, '--broker', brokerUrl, '--results', resultUrl],
        ...['--log-format', 'json'],
      ],
    });
    const store = await openBeatStore({ url: beatStoreUrl(place), app, logger: silentLogger, brokerUrl });
    const broker = await openBroker({ url: brokerUrl, logger: silentLogger, role: 'client' });
    const beats = new Beats(await Supervisord.start(folder, names.map(program)), store, broker, names, app);
    await until(async () => (await beats.leader()) > 0, `${app}: one leads`, 60_000);
    await until(() => beats.said('stands by') >= count - 1, `${app}: the others stand by`, 60_000);
    return beats;
  }

  /** Process id of the leader as the store has it; 0: nobody leads. */
  async leader(): Promise<number> {
    return Number(/^beat-(\d+)@/.exec((await this.store.lead()).owner ?? '')?.[1] ?? 0);
  }

  /** How often they have said this, all together. */
  said(words: string): number {
    return this.names.reduce((sum, name) => sum + this.supervisor.output(name).split(words).length - 1, 0);
  }

  pids(): number[] {
    return this.names.map((name) => this.supervisor.pid(name));
  }

  /**
   * Does that to the leader; who it was, and how many milliseconds passed until another one led, by the time of its log line: this process
   * may look too late on a busy machine.
   */
  async disturb(signal: 'SIGKILL' | 'SIGSTOP'): Promise<{ readonly pid: number; readonly tookMs: number }> {
    const pid = await this.leader();
    const sinceMs = Date.now();
    process.kill(pid, signal);
    await until(async () => ![0, pid].includes(await this.leader()), `${this.#app}: another one leads`, 30_000);
    await until(() => this.#ledSince(sinceMs) !== undefined, `${this.#app}: another one says that it leads`, 30_000);
    return { pid, tookMs: (this.#ledSince(sinceMs) ?? Number.NaN) - sinceMs };
  }

  /** When, after that, one of them began to lead: milliseconds of this machine's clock. */
  #ledSince(sinceMs: number): number | undefined {
    const lines = this.names.flatMap((name) => this.supervisor.output(name).split('\n'));
    return lines
      .filter((line) => line.includes('"beat: leads"') && line.endsWith('}'))
      .map((line) => (JSON.parse(line) as { readonly time: number }).time)
      .filter((ms) => ms >= sinceMs)
      .sort((one, other) => one - other)[0];
  }

  /** Starts beside the first one of each. */
  get restarts(): number {
    return this.names.reduce((sum, name) => sum + this.supervisor.starts(name), 0) - this.names.length;
  }

  /** Asks all of them to stop, as an operator does. */
  stop(): void {
    for (const name of this.names) this.supervisor.stop(name);
  }

  /** Ids of the messages in a queue, one for each message. */
  async ids(queue: string): Promise<string[]> {
    const peeked = await this.broker.peek(queue, MOST_PEEKED);
    return peeked.map((one) => ('message' in one ? String(one.message.headers['id']) : 'not a message'));
  }

  /** From the first slot that the entry had to the last one that was decided. */
  async stretch(entry: string, everyMs: number): Promise<Stretch> {
    const { sinceMs, cursorMs } = await this.entry(entry);
    return { entry, fromMs: sinceMs + 1, toMs: cursorMs, everyMs };
  }

  /** What the store has of an entry. */
  async entry(id: string): Promise<EntryState & { readonly sinceMs: number; readonly cursorMs: number }> {
    const record = await this.store.get(id);
    const { sinceMs } = JSON.parse(record?.definition ?? '{}') as { sinceMs: number };
    const state = decodeState(record?.state ?? null);
    return { ...state, sinceMs, cursorMs: state.cursorMs ?? sinceMs };
  }

  /** The claims of every scene: nobody but the killed was started again, and nobody ended otherwise. */
  claimCalm({ claim }: Kit, scene: string, killed: number): void {
    claim(`${scene}: starts by the supervisor beside the first ones and the killed`, this.restarts - killed, { equals: 0 });
    claim(
      `${scene}: ended otherwise than killed or asked to stop`,
      this.names.flatMap((name) => this.supervisor.ends(name)).filter(({ how }) => how !== 'SIGKILL' && how !== '0').length,
      { equals: 0 },
    );
  }

  async close(): Promise<void> {
    await this.supervisor.close();
    await this.broker.close();
    await this.store.close();
  }
}

/** Milliseconds of processor time that all threads of a process have used since it began; what an ended thread used is not among it. */
export function processorMs(pid: number): number {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder).reduce((sum, thread) => {
    const [nanoseconds] = readFileSync(`${folder}/${thread}/schedstat`, 'utf8').split(' ');
    return sum + Number(nanoseconds) / 1_000_000;
  }, 0);
}
