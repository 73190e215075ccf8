/**
 * Celery's column of drill 4: real beats under the same supervisor, set up as the start-up had them: always started again, all with one
 * pid file. It claims nothing of Celery; it shows what the loop of starts costs and how many slots do not come, and what happens when
 * each beat has a pid file of its own, as on machines of their own.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openBroker } from '../src/brokers/from-url.js';
import { silentLogger } from '../src/core/logger.js';
import { hasCelery, PYTHONS } from '../tests/support/celery.js';
import type { Kit } from './harness/scene.js';
import { type Program, Supervisord } from './harness/supervisord.js';
import { pause, until } from './harness/wait.js';

const APPS = fileURLToPath(new URL('./apps/', import.meta.url));
const SECOND_MS = 1_000;
const TICKS_A_SECOND = 100;
const MOST_LOOKS = 5;
/** What celery beat ends with when the pid file exists. */
const PIDFILE_EXISTS = '73';

interface Sizes {
  readonly beats: number;
  readonly kills: number;
  readonly calmMs: number;
  readonly stopMs: number;
}

const SIZES: Readonly<Record<Kit['size'], Sizes>> = {
  quick: { beats: 2, kills: 1, calmMs: 3_000, stopMs: 3_000 },
  full: { beats: 5, kills: 3, calmMs: 15_000, stopMs: 60_000 },
};

/** Starts beats under a supervisor that starts them again for ever, without a pause. */
class CeleryBeats {
  readonly names: readonly string[];
  readonly supervisor: Supervisord;
  readonly pidFile: string;

  private constructor(names: readonly string[], supervisor: Supervisord, pidFile: string) {
    this.names = names;
    this.supervisor = supervisor;
    this.pidFile = pidFile;
  }

  static async start(kit: Kit, version: '5.2' | '5.6', queue: string, count: number, shared: boolean): Promise<CeleryBeats> {
    const folder = join(kit.folder, queue);
    mkdirSync(folder);
    const names = Array.from({ length: count }, (_, index) => `beat${index + 1}`);
    const own = (name: string): string => join(folder, shared ? 'celerybeat' : name);
    const environment = [`CELERY_BROKER_URL=${kit.broker.brokerUrl}`, `LOVAGE_DRILL_QUEUE=${queue}`, 'PYTHONDONTWRITEBYTECODE=1'];
    const program = (name: string): Program => ({
      name,
      command: [
        ...['env', ...environment, PYTHONS[version], '-m', 'celery', '--workdir', APPS, '-A', 'beating_python', 'beat'],
        ...['--pidfile', `${own(name)}.pid`, '--schedule', `${own(name)}-schedule`, '--loglevel', 'INFO'],
      ],
      settings: { autorestart: 'true', startsecs: '0' },
    });
    const supervisor = await Supervisord.start(folder, names.map(program));
    return new CeleryBeats(names, supervisor, `${own('')}.pid`);
  }

  /** Who has the pid file; 0: nobody that lives. */
  leader(): number {
    const pid = existsSync(this.pidFile) ? Number(readFileSync(this.pidFile, 'utf8')) : 0;
    return pid > 0 && existsSync(`/proc/${pid}`) ? pid : 0;
  }

  /** Starts that ended because the pid file exists. */
  get refused(): number {
    return this.names.flatMap((name) => this.supervisor.ends(name)).filter(({ how }) => how === PIDFILE_EXISTS).length;
  }

  /** Milliseconds of processor time of those that have ended. */
  get endedMs(): number {
    const fields = readFileSync(`/proc/${this.supervisor.ownPid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ');
    return ((Number(fields[13]) + Number(fields[14])) / TICKS_A_SECOND) * 1_000;
  }
}

/** Plays the drill's faults on beats that share a pid file. */
async function playShared(kit: Kit, version: '5.2' | '5.6', sent: (queue: string) => Promise<number>): Promise<void> {
  const { beats: count, kills, calmMs, stopMs } = SIZES[kit.size];
  const queue = 'celery-shared';
  const beats = await CeleryBeats.start(kit, version, queue, count, true);
  const name = `Celery ${version}, ${count} beats with one pid file`;
  let frozen = 0;
  try {
    await until(async () => (await sent(queue)) > 0, 'Celery sends', 60_000);
    const beganMs = performance.now();
    const had = await sent(queue);
    const before = { refused: beats.refused, endedMs: beats.endedMs };
    await pause(calmMs);
    const calmS = (performance.now() - beganMs) / SECOND_MS;
    kit.figure(`${name}: starts refused a minute`, Math.round(((beats.refused - before.refused) / calmS) * 60));
    kit.figure(`${name}: processor of that loop, of one core`, Math.round((beats.endedMs - before.endedMs) / 10 / calmS), '%');
    const takeOvers: number[] = [];
    for (let kill = 0; kill < kills; kill += 1) {
      if (kill > 0) await pause(calmMs);
      const pid = beats.leader();
      const then = await sent(queue);
      const killedMs = performance.now();
      process.kill(pid, 'SIGKILL');
      await until(async () => (await sent(queue)) > then, 'another one sends', 60_000);
      takeOvers.push(Math.round(performance.now() - killedMs));
    }
    frozen = beats.leader();
    process.kill(frozen, 'SIGSTOP');
    await pause(stopMs);
    process.kill(frozen, 'SIGCONT');
    await pause(calmMs);
    const due = Math.floor((performance.now() - beganMs) / SECOND_MS);
    const came = (await sent(queue)) - had;
    kit.figure(`${name}, the leader killed ${kills} times and stopped for ${stopMs / 1_000} s: slots due`, due);
    kit.figure(`${name}: slots that never came`, Math.max(0, due - came));
    kit.figure(`${name}: first send after a kill`, takeOvers.join(' '), 'ms');
  } finally {
    if (frozen > 0 && existsSync(`/proc/${frozen}`)) process.kill(frozen, 'SIGCONT');
    await beats.supervisor.close();
  }
}

/** Nothing happens to them: each believes to be alone. */
async function playApart(kit: Kit, version: '5.2' | '5.6', sent: (queue: string) => Promise<number>): Promise<void> {
  const { beats: count, calmMs } = SIZES[kit.size];
  const queue = 'celery-apart';
  const beats = await CeleryBeats.start(kit, version, queue, count, false);
  try {
    await until(async () => (await sent(queue)) >= 3 * count, 'all of them send', 60_000);
    const had = await sent(queue);
    const beganMs = performance.now();
    await pause(calmMs);
    const slots = (performance.now() - beganMs) / SECOND_MS;
    const each = Math.round((((await sent(queue)) - had) / slots) * 10) / 10;
    kit.figure(`Celery ${version}, ${count} beats with a pid file each: sends of a slot`, each);
  } finally {
    await beats.supervisor.close();
  }
}

export async function playCelery(kit: Kit): Promise<void> {
  const version = (['5.6', '5.2'] as const).find(hasCelery);
  if (kit.broker.name === 'file' || !version)
    return kit.say('Celery does not play: no Celery here, or a broker that it cannot use');
  const looking = await openBroker({ url: kit.broker.brokerUrl, logger: silentLogger, role: 'client' });
  // Their loop of starts may leave a small machine's broker no time to answer: it is not what is tried here.
  const sent = async (queue: string): Promise<number> => {
    for (let tries = 1; ; tries += 1) {
      try {
        return (await looking.depth([queue]))[0]?.ready ?? 0;
      } catch (error) {
        if (tries >= MOST_LOOKS) throw error;
      }
    }
  };
  try {
    await playShared(kit, version, sent);
    await playApart(kit, version, sent);
  } finally {
    await looking.close();
  }
}
