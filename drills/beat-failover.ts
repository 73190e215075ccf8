/**
 * Drill 4: several schedulers under a supervisor, of which one leads. Leaders are killed, one stands still and goes on: each slot is sent
 * once, and somebody else leads within five seconds.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beatStoreUrl, openBeatStore } from '../src/beat/from-url.js';
import { slotTaskId } from '../src/beat/schedules/index.js';
import { openBroker } from '../src/brokers/from-url.js';
import { silentLogger } from '../src/core/logger.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { type Program, Supervisord } from './harness/supervisord.js';
import { pause, until } from './harness/wait.js';

const LOVAGE = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const APP = fileURLToPath(new URL('./apps/beating.ts', import.meta.url));

interface Sizes {
  readonly schedulers: number;
  readonly kills: number;
  /** Between two faults. */
  readonly calmMs: number;
  readonly stopMs: number;
}

const SIZES: Readonly<Record<Kit['size'], Sizes>> = {
  quick: { schedulers: 3, kills: 2, calmMs: 3_000, stopMs: 8_000 },
  full: { schedulers: 5, kills: 10, calmMs: 45_000, stopMs: 60_000 },
};
const TAKE_OVER_MS = 5_000;
const SECOND_MS = 1_000;
const TICKS_A_SECOND = 100;

/** Seconds of processor time that a process has used. */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

/** Of these slots, those that came not at all and those that came more than once. */
function counted(
  entry: string,
  ids: readonly string[],
  fromMs: number,
  toMs: number,
  everyMs: number,
): { missing: number; twice: number; strange: number } {
  const times = new Map<string, number>();
  for (const id of ids) times.set(id, (times.get(id) ?? 0) + 1);
  const slots: string[] = [];
  for (let slot = Math.ceil(fromMs / everyMs) * everyMs; slot <= toMs; slot += everyMs) slots.push(slotTaskId(entry, slot));
  const known = new Set(slots);
  return {
    missing: slots.filter((id) => !times.has(id)).length,
    twice: [...times.values()].filter((count) => count > 1).length,
    strange: [...times.keys()].filter((id) => !known.has(id)).length,
  };
}

export const drill: Drill = {
  name: 'beat-failover',
  scenario:
    'Several schedulers under supervisord with entries of every second and every minute. Leaders are killed with -9 one after the other, then one is stopped (SIGSTOP) and continued, while others lead.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['redis'],
  async run(kit) {
    const { schedulers, kills, calmMs, stopMs } = SIZES[kit.size];
    const { broker, folder } = kit;
    const { brokerUrl, resultUrl } = broker;
    const scene = new Scene(kit, 'beats', '5s');
    const names = Array.from({ length: schedulers }, (_, index) => `beat${index + 1}`);
    const store = await openBeatStore({ url: beatStoreUrl(broker), app: 'drills-beat', logger: silentLogger, brokerUrl });
    const peeking = await openBroker({ url: brokerUrl, logger: silentLogger, role: 'client' });
    const program = (name: string): Program => ({
      name,
      command: [
        ...[process.execPath, LOVAGE, 'beat', '--app', APP, '--broker', brokerUrl, '--results', resultUrl],
        ...['--log-format', 'json'],
      ],
    });
    await peeking.declare('beat-sends');
    const fleet = await scene.fleet({ count: 1 });
    const supervisor = await Supervisord.start(folder, names.map(program));
    try {
      const leader = async (): Promise<number> => Number(/^beat-(\d+)@/.exec((await store.lead()).owner ?? '')?.[1] ?? 0);
      await until(async () => (await leader()) > 0, 'one leads', 60_000);
      const said = (words: string): number =>
        names.reduce((sum, name) => sum + supervisor.output(name).split(words).length - 1, 0);
      await until(() => said('stands by') >= schedulers - 1, 'the others stand by', 60_000);
      const stood = said('stands by');

      const takeOvers: number[] = [];
      const replaced = async (pid: number, sinceMs: number): Promise<void> => {
        await until(async () => ![0, pid].includes(await leader()), 'another one leads', 30_000);
        takeOvers.push(Date.now() - sinceMs);
      };
      for (let kill = 0; kill < kills; kill += 1) {
        await pause(calmMs);
        const pid = await leader();
        process.kill(pid, 'SIGKILL');
        await replaced(pid, Date.now());
      }
      await pause(calmMs);
      const frozen = await leader();
      process.kill(frozen, 'SIGSTOP');
      await replaced(frozen, Date.now());
      await pause(stopMs);
      process.kill(frozen, 'SIGCONT');
      const usedBefore = processorSeconds(frozen);
      const watchedMs = Date.now();
      await pause(calmMs + 2_000);
      const share = ((processorSeconds(frozen) - usedBefore) / ((Date.now() - watchedMs) / 1_000)) * 100;

      const ids = async (queue: string): Promise<string[]> =>
        (await peeking.peek(queue, 10_000)).flatMap((one) => ('message' in one ? [String(one.message.headers['id'])] : []));
      for (const name of names) supervisor.stop(name);
      const entry = async (id: string): Promise<{ sinceMs: number; cursorMs: number }> => {
        const record = await store.get(id);
        const { sinceMs } = JSON.parse(record?.definition ?? '{}') as { sinceMs: number };
        const { cursorMs } = JSON.parse(record?.state ?? '{}') as { cursorMs: number };
        return { sinceMs: sinceMs + 1, cursorMs };
      };
      const runs = await entry('runs');
      const minutes = await entry('minutes');
      const executed = (): string[] => [...scene.ledger.read().runs].flatMap(([id, list]) => list.map(() => id));
      const last = slotTaskId('runs', Math.floor(runs.cursorMs / SECOND_MS) * SECOND_MS);
      await until(() => executed().includes(last), 'the last slot has run', 30_000);
      const isMinute = new Set<string>();
      for (let slot = Math.ceil(minutes.sinceMs / 60_000) * 60_000; slot <= minutes.cursorMs; slot += 60_000)
        isMinute.add(slotTaskId('minutes', slot));
      const all = executed();
      const ran = counted(
        'runs',
        all.filter((id) => !isMinute.has(id)),
        runs.sinceMs,
        runs.cursorMs,
        SECOND_MS,
      );
      const ranMinutes = counted(
        'minutes',
        all.filter((id) => isMinute.has(id)),
        minutes.sinceMs,
        minutes.cursorMs,
        60_000,
      );
      kit.claim('slots of every second that did not run', ran.missing, { equals: 0 });
      kit.claim('slots of every second that ran twice', ran.twice, { equals: 0 });
      kit.claim('runs of no slot', ran.strange, { equals: 0 });
      kit.claim('slots of every minute that did not run, or ran twice', ranMinutes.missing + ranMinutes.twice, { equals: 0 });
      if (broker.name !== 'rabbitmq') {
        const sends = await entry('sends');
        const sent = counted('sends', await ids('beat-sends'), sends.sinceMs, sends.cursorMs, SECOND_MS);
        kit.claim('slots that were not sent', sent.missing, { equals: 0 });
        kit.claim('slots that were sent twice, or sends of no slot', sent.twice + sent.strange, { equals: 0 });
      }
      kit.claim('slowest take-over', Math.max(...takeOvers), { atMost: TAKE_OVER_MS }, 'ms');
      kit.claim(
        'starts by the supervisor beside the first ones and the killed',
        names.reduce((sum, name) => sum + supervisor.starts(name), 0) - schedulers - kills,
        { equals: 0 },
      );
      kit.claim(
        'ended otherwise than killed or asked to stop',
        names.flatMap((name) => supervisor.ends(name)).filter(({ how }) => how !== 'SIGKILL' && how !== '0').length,
        { equals: 0 },
      );
      kit.claim('workers that ended by themselves', fleet.crashes.length, { equals: 0 });
      kit.claim('others stood by before the first fault', stood, { atLeast: schedulers - 1 });
      kit.figure('slots of every second', Math.floor((runs.cursorMs - runs.sinceMs) / SECOND_MS));
      kit.figure('take-overs', takeOvers.join(' '), 'ms');
      kit.figure('processor of a standby, of one core', Math.round(share * 100) / 100, '%');
    } finally {
      await supervisor.close();
      await peeking.close();
      await store.close();
      await scene.close();
    }
  },
};
