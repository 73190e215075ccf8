/**
 * Drill 4: the start-up whose supervisor started a second celery beat in an endless loop. Several schedulers under a supervisor, of which
 * one leads. Leaders are killed, one stands still and goes on: each slot is sent once, and somebody else leads within five seconds.
 * Beside it clocks are set and the broker goes away (`two-beats-scenes.ts`); Celery's column is `two-beats-celery.ts`.
 */
import { Beats, processorMs } from './harness/beats.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { judgeSlots, slotIds } from './harness/slots.js';
import { pause, until } from './harness/wait.js';
import { playCelery } from './two-beats-celery.js';
import { playClocks, playOutage } from './two-beats-scenes.js';

interface Sizes {
  readonly schedulers: number;
  readonly kills: number;
  /** Between two faults. */
  readonly calmMs: number;
  readonly stopMs: number;
  /** What a standby may use of one core; in the few seconds of a quick run code is still being compiled. */
  readonly standbyPercent: number;
}

const SIZES: Readonly<Record<Kit['size'], Sizes>> = {
  quick: { schedulers: 3, kills: 2, calmMs: 2_000, stopMs: 4_000, standbyPercent: 5 },
  full: { schedulers: 5, kills: 10, calmMs: 45_000, stopMs: 60_000, standbyPercent: 0.5 },
};
const TAKE_OVER_MS = 5_000;
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;

/** The most that a scheduler which does not lead uses of one core, in per cent, while nothing happens. */
async function standbyShare(beats: Beats, calmMs: number): Promise<number> {
  const leader = await beats.leader();
  const used = (): number[] =>
    beats
      .pids()
      .filter((pid) => pid !== leader)
      .map(processorMs);
  const before = used();
  const sinceMs = performance.now();
  await pause(calmMs);
  const tookMs = performance.now() - sinceMs;
  return Math.max(...used().map((ms, index) => ((ms - (before[index] as number)) / tookMs) * 100));
}

/** Faults one after the other; how long each take-over took, and what standing by cost. */
async function disturb(beats: Beats, sizes: Sizes): Promise<{ takeOvers: number[]; share: number }> {
  const { kills, calmMs, stopMs } = sizes;
  const share = await standbyShare(beats, calmMs);
  const takeOvers: number[] = [];
  for (let kill = 0; kill < kills; kill += 1) {
    if (kill > 0) await pause(calmMs);
    takeOvers.push((await beats.disturb('SIGKILL')).tookMs);
  }
  await pause(calmMs);
  const { pid, tookMs } = await beats.disturb('SIGSTOP');
  takeOvers.push(tookMs);
  await pause(stopMs);
  process.kill(pid, 'SIGCONT');
  await until(() => beats.said('the lead was lost') > 0, 'who stood still finds that another one leads', 20_000);
  await pause(calmMs);
  return { takeOvers, share };
}

async function playKills(kit: Kit): Promise<void> {
  const sizes = SIZES[kit.size];
  const { schedulers, kills, standbyPercent } = sizes;
  const scene = new Scene(kit, 'beats', '5s');
  const fleet = await scene.fleet({ count: 1 });
  const beats = await Beats.start(kit, { scene: 'kills', count: schedulers });
  try {
    kit.claim('others stood by before the first fault', beats.said('stands by'), { atLeast: schedulers - 1 });
    const beganMs = Date.now();
    const { takeOvers, share } = await disturb(beats, sizes);
    const endedMs = Date.now();
    beats.stop();

    const seconds = await beats.stretch('runs', SECOND_MS);
    const minutes = await beats.stretch('minutes', MINUTE_MS);
    const ran = (): string[] => [...scene.ledger.read().runs].flatMap(([id, list]) => list.map(() => id));
    const last = [...slotIds(seconds).values(), ...slotIds(minutes).values()];
    await until(() => last.every((id) => scene.ledger.read().runs.has(id)), 'the last slots have run', 30_000).catch(() => {});
    const isMinute = new Set(slotIds(minutes).values());
    const runs = judgeSlots(
      seconds,
      ran().filter((id) => !isMinute.has(id)),
    );
    const minuteRuns = judgeSlots(
      minutes,
      ran().filter((id) => isMinute.has(id)),
    );
    const sends = judgeSlots(await beats.stretch('sends', SECOND_MS), await beats.ids('beat-sends'));
    const minuteSends = judgeSlots(await beats.stretch('minute-sends', MINUTE_MS), await beats.ids('minute-sends'));

    const isWhole = seconds.fromMs <= beganMs && seconds.toMs >= endedMs - 2 * SECOND_MS;
    kit.claim('the slots that are judged cover all faults', isWhole, { equals: true });
    kit.claim('runs: slots of every second missing', runs.missing.length, { equals: 0 });
    kit.claim('runs: slots of every second twice', runs.twice.length, { equals: 0 });
    kit.claim('runs: of no slot', runs.strange.length, { equals: 0 });
    kit.claim('runs: slots of every minute missing or twice', minuteRuns.missing.length + minuteRuns.twice.length, { equals: 0 });
    kit.claim('sends: slots missing', sends.missing.length + minuteSends.missing.length, { equals: 0 });
    kit.claim('sends: of no slot', sends.strange.length + minuteSends.strange.length, { equals: 0 });
    const twice = sends.twice.length + minuteSends.twice.length;
    // Message and decision are two steps there: at least once, under one id, which a worker runs once.
    if (kit.broker.name === 'rabbitmq') kit.figure('sends: slots twice', twice);
    else kit.claim('sends: slots twice', twice, { equals: 0 });
    kit.claim('slowest take-over', Math.max(...takeOvers), { atMost: TAKE_OVER_MS }, 'ms');
    beats.claimCalm(kit, 'kills', kills);
    kit.claim('workers that ended by themselves', fleet.crashes.length, { equals: 0 });
    kit.claim('processor of a standby, of one core', share, { atMost: standbyPercent }, '%');
    kit.figure('kills: slots of every second', runs.slots);
    kit.figure('kills: slots of every minute', minuteRuns.slots);
    kit.figure('take-overs', takeOvers.join(' '), 'ms');
  } finally {
    await beats.close();
    await scene.close();
  }
}

export const drill: Drill = {
  name: 'two-beats',
  scenario:
    'Five schedulers under supervisord, entries of every second and every minute, for ten minutes. The leader is killed with -9 ten times, then it is stopped (SIGSTOP) for 60 s and continued. Beside it, with entries of their own: clocks that are set by an hour, and a broker that is away for 14 s over a schedule of 4 s. With Celery beside it.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['file', 'redis'],
  async run(kit) {
    // At once, for the sake of the time: each has an app of its own, and the outage a broker of its own.
    const ends = await Promise.allSettled([playKills(kit), playClocks(kit), playOutage(kit)]);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    await playCelery(kit);
  },
};
