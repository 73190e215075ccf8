/**
 * Drill 12: a worker stands still (SIGSTOP) with tasks in its hands for longer than its lease, and goes on as if nothing
 * had happened. Others have run its tasks meanwhile; what it has to say is refused, by itself and by the store.
 */
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { pause, until } from './harness/wait.js';

interface Sizes {
  readonly leaseMs: number;
  readonly stopMs: number;
  /** RabbitMQ has no leases: it looks once a heartbeat, and lets go of a worker of which it saw nothing twice: after two to three. */
  readonly heartbeatS: number;
}

const SIZES: Readonly<Record<Kit['size'], Sizes>> = {
  quick: { leaseMs: 3_000, stopMs: 10_000, heartbeatS: 2 },
  full: { leaseMs: 10_000, stopMs: 30_000, heartbeatS: 5 },
};

const TASK_MS = 1_500;
const TASKS = 30;

function withHeartbeat(kit: Kit, seconds: number): string {
  const { name, brokerUrl } = kit.broker;
  return name === 'rabbitmq' ? `${brokerUrl}?heartbeat=${seconds}` : brokerUrl;
}

/** When a silent worker is given up. */
function noticedMs(kit: Kit, leaseMs: number, heartbeatS: number): number {
  return kit.broker.name === 'rabbitmq' ? 3 * heartbeatS * 1_000 : leaseMs;
}

export const drill: Drill = {
  name: 'frozen-worker',
  scenario:
    'A worker is stopped with SIGSTOP for three times its lease while it holds running tasks, and is then continued; another worker runs beside it.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['file'],
  async run(kit) {
    const { leaseMs, stopMs, heartbeatS } = SIZES[kit.size];
    const scene = new Scene(kit, 'frozen', `${leaseMs / 1_000}s`);
    try {
      const broker = withHeartbeat(kit, heartbeatS);
      const fleet = await scene.fleet({ count: 2, urls: () => ({ broker, results: kit.broker.resultUrl }) });
      const label = fleet.workers[0]?.label ?? '';
      const ids = await scene.sender.sendMany(
        'drill.append',
        Array.from({ length: TASKS }, () => ({ args: [TASK_MS] })),
      );
      const held = (): string[] =>
        [...scene.ledger.read().runs].flatMap(([id, runs]) =>
          runs.some(({ worker, endMs }) => worker === label && endMs === null) ? [id] : [],
        );
      await until(() => held().length >= 5, 'the worker holds tasks');
      const stoppedMs = Date.now();
      fleet.stop(0);
      const frozen = held();

      const elsewhere = (id: string): number | undefined =>
        scene.ledger
          .read()
          .runs.get(id)
          ?.find(({ worker, endMs }) => worker !== label && endMs !== null)?.startMs;
      await until(() => frozen.every((id) => elsewhere(id) !== undefined), 'its tasks ran elsewhere', stopMs);
      const slowestMs = Math.max(...frozen.map((id) => (elsewhere(id) ?? Number.NaN) - stoppedMs));
      const results = (): Promise<string[]> =>
        Promise.all(frozen.map(async (id) => JSON.stringify(await scene.sender.handle(id).result({ timeout: '10s' }))));
      const before = await results();
      await pause(stoppedMs + stopMs - Date.now());
      fleet.continue(0);
      await until(() => held().length === 0, 'the continued worker has ended what it was at');
      // It takes part again: both workers are needed for these.
      await until(async () => {
        await scene.sender.sendMany(
          'drill.append',
          Array.from({ length: 20 }, () => ({ args: [100] })),
        );
        return [...scene.ledger.read().runs.values()].some((runs) =>
          runs.some(({ worker, startMs }) => worker === label && startMs > stoppedMs + stopMs),
        );
      }, 'the continued worker takes new tasks');
      const verdict = await scene.settled(20_000);
      const after = await results();
      const codes = await fleet.close();

      const stoppedLines = fleet.log('worker stopped');
      const refused = stoppedLines.reduce((sum, line) => sum + Number(line['fenced'] ?? 0), 0);
      const { runs } = scene.ledger.read();
      kit.claim('running tasks that the stopped worker held', frozen.length, { atLeast: 5 });
      kit.claim('of them, run to their end elsewhere while it stood still', before.length, { equals: frozen.length });
      kit.claim(
        'slowest start elsewhere after the stop',
        slowestMs,
        { atMost: noticedMs(kit, leaseMs, heartbeatS) + 5_000 },
        'ms',
      );
      kit.claim(
        'of them, begun again by anyone after it was continued',
        frozen.filter((id) => (runs.get(id) ?? []).some(({ startMs }) => startMs > stoppedMs + stopMs)).length,
        { equals: 0 },
      );
      kit.claim('its late outcomes that were refused and counted', refused, { atLeast: frozen.length });
      kit.claim('of its tasks, results of the worker that did them', before.filter((text) => text.includes('w2.')).length, {
        equals: frozen.length,
      });
      kit.claim('results that changed when it was continued', after.filter((text, index) => text !== before[index]).length, {
        equals: 0,
      });
      kit.claim(
        'tasks that ended in SUCCESS',
        (await Promise.all(ids.map((id) => scene.sender.handle(id).state()))).filter((state) => state === 'SUCCESS').length,
        { equals: TASKS },
      );
      kit.claim('workers that ended by themselves', fleet.crashes.length, { equals: 0 });
      kit.claim('exit codes of the workers at the end', codes.join(' '), { equals: '0 0' });
      scene.claimNothingLost('in all', verdict);
      kit.figure('stopped for', stopMs, 'ms');
    } finally {
      await scene.close();
    }
  },
};
