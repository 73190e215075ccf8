/**
 * Drill 1: the shop whose workers kept every expired task in their list of revoked ones, and whose new workers were given those
 * lists by all the others: thirty of them started at midnight. A million tasks that have expired go through, then thirty
 * workers start together; then a million are revoked, and thirty start again. What is held and what is pulled must not grow with
 * history. Celery's column is `midnight-celery.ts`.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RevokeOutcome } from 'lovage';
import { openBroker } from '../src/brokers/from-url.js';
import { silentLogger } from '../src/core/logger.js';
import { MOST_REVOCATIONS } from '../src/core/timed-set.js';
import { encodeTaskMessage } from '../src/wire/task-message.js';
import { type Memory, median, probedBy, type Reading, readMemory } from './harness/memory.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene, type SceneFleet } from './harness/scene.js';
import { watchTraffic } from './harness/traffic.js';
import { pause, until } from './harness/wait.js';
import type { Fleet } from './harness/workers.js';
import { playCelery } from './midnight-celery.js';

const OLD_WORKERS = 3;
const CHUNK = 1_000;
/** Messages that may wait in the broker: it is not its memory that is tried. */
const MOST_WAITING = 20_000;
/** Memory is judged from this share of the tasks on: before it code is compiled and caches fill. */
const WARM = 0.2;
const GROWTH_MIB = 8;
const PULL_BYTES = 64 * 1_024;
/** Bytes by which two starts may differ: signs of life and retries, not history. */
const SAME_BYTES = 16 * 1_024;
const PROBE_MS = 500;
/** Long enough for each thread to have had its turn: their readings are summed up. */
const SPAN_MS = 1_500;
/** After the last worker is ready: what it still pulls by itself. */
const AFTER_START_MS = 3_000;
/** Task ids whose states are read, and revoked ones that are sent. */
const SAMPLE = 2_000;
const KEPT = 200;

interface Sizes {
  readonly expired: number;
  readonly revoked: number;
  readonly starting: number;
}

const sizesOf = ({ size }: Kit): Sizes =>
  size === 'full'
    ? { expired: 1_000_000, revoked: 1_000_000, starting: 30 }
    : { expired: 20_000, revoked: MOST_REVOCATIONS + 5_000, starting: 4 };

/** One group of workers after the other, each with a folder for its logs. */
class Stage {
  readonly kit: Kit;
  readonly scene: Scene;
  readonly #fleets: Fleet[] = [];

  constructor(kit: Kit) {
    this.kit = kit;
    this.scene = new Scene(kit, 'midnight', '15s');
  }

  get crashes(): number {
    return this.#fleets.reduce((sum, { crashes }) => sum + crashes.length, 0);
  }

  async start(name: string, options: SceneFleet): Promise<Fleet> {
    const folder = join(this.kit.folder, name);
    mkdirSync(folder);
    const fleet = await this.scene.fleet({ folder, ...options });
    this.#fleets.push(fleet);
    return fleet;
  }

  /** Workers whose memory is watched, each by the lines of its process. */
  startOld(name: string): Promise<Fleet> {
    const nodeFlags = probedBy(join(this.kit.folder, `${name}.memory`), PROBE_MS);
    return this.start(name, { count: OLD_WORKERS, concurrency: 40, nodeFlags });
  }

  /** What each worker of that group holds. */
  memories(name: string): Memory[] {
    const file = join(this.kit.folder, `${name}.memory`);
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return [...new Set(lines.map((line) => line.split(':')[0]))].map((pid) => {
      const own = lines.filter((line) => line.startsWith(`${pid}:`));
      writeFileSync(`${file}.${pid}`, `${own.join('\n')}\n`);
      return readMemory(`${file}.${pid}`, SPAN_MS);
    });
  }

  /** Starts workers together on a counted way to the broker; what each has pulled, and the workers. */
  async startTogether(name: string, count: number): Promise<{ readonly each: number; readonly fleet: Fleet }> {
    const traffic = await watchTraffic(this.kit.broker);
    const urls = () => ({ broker: traffic.brokerUrl, results: this.kit.broker.resultUrl });
    const fleet = await this.start(name, { count, pool: 'inline', urls });
    await pause(AFTER_START_MS);
    return { each: traffic.pulled() / count, fleet };
  }
}

/** Publishes tasks that have expired already, no faster than they go away; resolves with the ids of a sample. */
export async function sendExpired(kit: Kit, queue: string, count: number): Promise<string[]> {
  const broker = await openBroker({ url: kit.broker.brokerUrl, logger: silentLogger, role: 'engine' });
  const sample: string[] = [];
  const every = Math.max(1, Math.floor((2 * count) / SAMPLE));
  const waiting = async (): Promise<number> => (await broker.depth([queue]))[0]?.ready ?? 0;
  try {
    await broker.declare(queue);
    for (let sent = 0; sent < count; ) {
      const nowMs = Date.now();
      const messages = Array.from({ length: Math.min(CHUNK, count - sent) }, (_, index) => {
        const id = randomUUID();
        if ((sent + index) % every === 0) sample.push(id);
        const call = { task: 'drill.append', id, args: [0], kwargs: {}, expires: new Date(nowMs - 60_000) };
        return { to: { queue }, message: encodeTaskMessage(call, { nowMs }) };
      });
      const failure = (await broker.publish(messages, { timeoutMs: 60_000 })).find((result) => result !== null);
      if (failure) throw failure;
      sent += messages.length;
      await until(async () => (await waiting()) <= MOST_WAITING, 'the workers keep up', 300_000);
    }
    await until(async () => (await waiting()) === 0, 'nothing waits any more', 300_000);
    return sample;
  } finally {
    await broker.close();
  }
}

/** What the workers of a group hold when nothing happens: the middle of three readings of each. */
class Quiet {
  readonly #held: readonly { readonly living: number; readonly resident: number }[];

  private constructor(memories: readonly Memory[]) {
    const middle = (readings: readonly Reading[]): number => median(readings.slice(-3).map(({ value }) => value));
    this.#held = memories.map(({ living, resident }) => ({ living: middle(living), resident: middle(resident) }));
  }

  static async after(stage: Stage, group: string): Promise<Quiet> {
    await pause(5 * SPAN_MS);
    return new Quiet(stage.memories(group));
  }

  /** How much more than before the one holds that has grown the most. */
  claimGrowth({ claim }: Kit, group: string, before: Quiet): void {
    const growth = (kind: 'living' | 'resident'): number =>
      Math.max(...this.#held.map((held, index) => held[kind] - (before.#held[index]?.[kind] ?? Number.NaN)));
    claim(`${group}: workers whose memory was watched`, before.#held.length, { equals: OLD_WORKERS });
    claim(`${group}: heap after collection, growth from a fifth on`, growth('living'), { atMost: GROWTH_MIB }, 'MiB');
    claim(`${group}: resident memory, growth from a fifth on`, growth('resident'), { atMost: GROWTH_MIB }, 'MiB');
  }
}

async function playExpired(stage: Stage, sizes: Sizes): Promise<number> {
  const { kit, scene } = stage;
  const before = await stage.startTogether('first', 1);
  await before.fleet.close();
  const old = await stage.startOld('expired');
  const sample = await sendExpired(kit, scene.queue, sizes.expired * WARM);
  const warm = await Quiet.after(stage, 'expired');
  sample.push(...(await sendExpired(kit, scene.queue, sizes.expired * (1 - WARM))));
  (await Quiet.after(stage, 'expired')).claimGrowth(kit, 'expired', warm);
  const held = [...(await scene.sender.app.control.revoked({ timeout: '10s' })).answers.values()];
  kit.claim('expired: workers that say what they hold', held.length, { equals: OLD_WORKERS });
  kit.claim('expired: ids held', held.flat().length, { equals: 0 });
  const states = await Promise.all(sample.map((id) => scene.sender.app.handle(id).state()));
  const revoked = states.filter((state) => state === 'REVOKED').length;
  kit.claim(`expired: state REVOKED, of ${sample.length} looked at`, revoked, { equals: sample.length });
  const after = await stage.startTogether('midnight', sizes.starting);
  claimPulled(kit, `${sizes.starting} start together after ${sizes.expired} expired tasks`, after.each, before.each);
  await Promise.all([after.fleet.close(), old.close()]);
  const ended = [...old.log('worker stopped'), ...after.fleet.log('worker stopped')];
  const counted = ended.reduce((sum, line) => sum + Number(line['expired']), 0);
  kit.claim('expired: tasks that workers ended as expired', counted, { equals: sizes.expired });
  kit.claim('expired: tasks that ran', scene.ledger.read().runs.size, { equals: 0 });
  return before.each;
}

/** The embedded file has no connection: nothing can be pulled through one. */
function claimPulled(kit: Kit, name: string, each: number, before: number): void {
  if (kit.broker.name === 'file') return;
  kit.claim(`${name}: bytes that each pulls`, Math.round(each), { atMost: PULL_BYTES });
  kit.figure(`${name}: more than one pulls without any history`, Math.round(each - before), 'bytes');
  kit.claim(`${name}: history among that`, Math.max(0, Math.round(each - before)), { atMost: SAME_BYTES }, 'bytes');
}

async function playRevoked(stage: Stage, sizes: Sizes, before: number): Promise<void> {
  const { kit, scene } = stage;
  const { app } = scene.sender;
  const old = await stage.startOld('revoked');
  let warm: Quiet | null = null;
  const outcomes: Record<RevokeOutcome, number> = { removed: 0, recorded: 0, 'broadcast-only': 0 };
  const recorded: string[] = [];
  let tookMs = 0;
  for (let sent = 0; sent < sizes.revoked; sent += CHUNK) {
    if (sent >= sizes.revoked * WARM) warm ??= await Quiet.after(stage, 'revoked');
    const ids = Array.from({ length: CHUNK }, () => randomUUID());
    const beganMs = performance.now();
    const revoked = await app.control.revoke(ids);
    tookMs += performance.now() - beganMs;
    for (const [id, outcome] of revoked) {
      outcomes[outcome] += 1;
      if (outcome === 'recorded' && recorded.length < KEPT) recorded.push(id);
    }
  }
  kit.figure('revokes a second', Math.round(sizes.revoked / (tookMs / 1_000)));
  kit.claim('revoked: recorded, and no more', outcomes.recorded, { equals: MOST_REVOCATIONS });
  kit.claim('revoked: told to those who listen', outcomes['broadcast-only'], { equals: sizes.revoked - MOST_REVOCATIONS });
  if (warm) (await Quiet.after(stage, 'revoked')).claimGrowth(kit, 'revoked', warm);
  const held = [...(await app.control.revoked({ timeout: '20s' })).answers.values()].map((ids) => ids.length);
  kit.claim('revoked: ids that a worker holds, the most', Math.max(...held), { atMost: MOST_REVOCATIONS });
  await old.close();
  // From here on nobody lives who has heard of them.
  const { each, fleet } = await stage.startTogether('again', sizes.starting);
  claimPulled(kit, `${sizes.starting} start together after ${sizes.revoked} revokes`, each, before);
  const rows = [...recorded.map((id) => ({ args: [0], options: { id } })), ...recorded.map(() => ({ args: [0] }))];
  await scene.sender.sendMany('drill.append', rows);
  const revoked = new Set(recorded);
  const ran = (wanted: boolean): number => [...scene.ledger.read().runs.keys()].filter((id) => revoked.has(id) === wanted).length;
  await until(() => ran(false) >= recorded.length, 'the others have run', 60_000);
  await fleet.close();
  kit.claim('revoked before these workers started, and ran', ran(true), { equals: 0 });
  kit.claim('not revoked, and ran', ran(false), { equals: recorded.length });
}

export const drill: Drill = {
  name: 'midnight-restart',
  scenario:
    'Three workers; 1,000,000 tasks that have expired go through, then 30 workers start together; again with 1,000,000 revokes. With Celery beside it.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['redis'],
  async run(kit) {
    const sizes = sizesOf(kit);
    const stage = new Stage(kit);
    try {
      const before = await playExpired(stage, sizes);
      await playRevoked(stage, sizes, before);
      kit.claim('workers that ended by themselves', stage.crashes, { equals: 0 });
    } finally {
      await stage.scene.close();
    }
    await playCelery(kit);
  },
};
