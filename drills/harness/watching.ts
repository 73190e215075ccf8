/**
 * What each process of a fleet costs while it is watched: the commands that it sends to its broker and its store, its processor time,
 * and commits to an embedded file. Outside Lovage: by the bytes on the way, by the system's books and by SQLite's.
 */
import { loadDriver } from '../../src/clients/sqlite/driver.js';
import type { DrillBroker } from './brokers.js';
import { type Door, openDoor } from './commands.js';
import { cpuMs } from './processor.js';
import { pause } from './wait.js';

export const A_MINUTE = 60_000;
/** Processor time of a process in two seconds, in the mean, half of what an idle one may use: its start is over then. */
const SETTLED_MS = 3;
const FILE_LOOK_MS = 20;

/** One process of the fleet, and its ways to the broker and to the result store. */
export interface Member {
  readonly name: string;
  readonly pid: number;
  readonly doors: readonly Door[];
}

/** Ways for one client; the servers' own URLs where there is nothing to count. */
export class Ways {
  readonly broker: string;
  readonly results: string;
  readonly doors: readonly Door[];

  private constructor({ brokerUrl, resultUrl }: DrillBroker, [toBroker, toResults]: readonly Door[]) {
    this.broker = toBroker?.url ?? brokerUrl;
    this.results = toResults?.url ?? toBroker?.url ?? resultUrl;
    this.doors = [toBroker, toResults].filter((door) => door !== undefined);
  }

  static async open(broker: DrillBroker): Promise<Ways> {
    if (broker.name === 'file') return new Ways(broker, []);
    const urls = broker.resultUrl === broker.brokerUrl ? [broker.brokerUrl] : [broker.brokerUrl, broker.resultUrl];
    return new Ways(broker, await Promise.all(urls.map(openDoor)));
  }
}

/** Counts of a member by command; signs of life of AMQP's connections, which reach no part of the broker, apart. */
function countsOf({ doors }: Member): Map<string, number> {
  const sum = new Map<string, number>();
  for (const door of doors) for (const [name, count] of door.counts()) sum.set(name, (sum.get(name) ?? 0) + count);
  return sum;
}

/** Commands that a member has sent so far. */
export function countCommands(member: Member): number {
  return [...countsOf(member)].reduce((sum, [name, count]) => sum + (name === 'heartbeat' ? 0 : count), 0);
}

/** What one member did in the time it was watched. */
export interface Watched {
  readonly name: string;
  /** A minute; watched for less than that, without one of them. */
  readonly commands: number;
  readonly heartbeats: number;
  /** Percent of one core. */
  readonly cpu: number;
  /** For people who look for the cause. */
  readonly told: string;
}

export async function watch(members: readonly Member[], forMs: number): Promise<Watched[]> {
  const before = members.map((member) => ({ counts: countsOf(member), cpu: cpuMs([member.pid]), atMs: performance.now() }));
  await pause(forMs);
  return members.map((member, index) => {
    const { counts, cpu, atMs } = before[index] as (typeof before)[number];
    const tookMs = performance.now() - atMs;
    const more = [...countsOf(member)].map(([name, count]) => [name, count - (counts.get(name) ?? 0)] as const);
    const perMinute = (isBeat: boolean, less = 0): number =>
      (Math.max(
        0,
        more.reduce((sum, [name, count]) => sum + ((name === 'heartbeat') === isBeat ? count : 0), -less),
      ) *
        A_MINUTE) /
      tookMs;
    // What comes once a minute comes in one of two halves of it: there it would count for two.
    const once = forMs < A_MINUTE ? 1 : 0;
    return {
      name: member.name,
      commands: Math.round(perMinute(false, once) * 10) / 10,
      heartbeats: perMinute(true),
      cpu: ((cpuMs([member.pid]) - cpu) / tookMs) * 100,
      told: more.flatMap(([name, count]) => (count > 0 ? [`${name} ${count}`] : [])).join(', '),
    };
  });
}

/** Waits until nothing is left of the start (compiling, collecting), or a minute. */
export async function settle(members: readonly Member[]): Promise<void> {
  const pids = members.map(({ pid }) => pid);
  for (let second = 0; second < 60; second += 2) {
    const beganMs = cpuMs(pids);
    await pause(2_000);
    if (cpuMs(pids) - beganMs < SETTLED_MS * pids.length) return;
  }
}

/** How many times others committed to the embedded file while `during` ran; several within a look count once. */
export async function commitsDuring(brokerUrl: string, during: () => Promise<void>): Promise<number> {
  const database = (await loadDriver()).open(brokerUrl.replace(/^file:/, ''));
  const version = (): unknown => Object.values(database.prepare('PRAGMA data_version').all([])[0] ?? {})[0];
  let last = version();
  let commits = 0;
  const look = (): void => {
    const now = version();
    if (now !== last) commits += 1;
    last = now;
  };
  const timer = setInterval(look, FILE_LOOK_MS);
  try {
    await during();
    look();
    return commits;
  } finally {
    clearInterval(timer);
    database.close();
  }
}
