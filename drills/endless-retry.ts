/**
 * Drill 8: what always fails must end, and what fails together must not come back together.
 */
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { BASE_S } from './apps/failing.js';
import type { Run } from './harness/ledger.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { evenness, fullestWindow } from './harness/spread.js';
import { until } from './harness/wait.js';

const APP = fileURLToPath(new URL('./apps/failing.ts', import.meta.url));
const CROWD = 1_000;
const ROUNDS = { quick: 1, full: 10 } as const;

/** A crowd of 1,000 that fails at once is settled, delayed and promoted in turn; a new RabbitMQ makes its delay queues first. */
const LATE_MS = 3_000;

/** A port on which nobody listens: the dead API. */
async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 9;
}

async function playEnds(kit: Kit): Promise<void> {
  const scene = new Scene(kit, 'failing', '5s');
  try {
    const fleet = await scene.fleet({ count: 1, app: APP });
    const { sender, ledger } = scene;
    const always = await sender.send('failing.always');
    const once = await sender.send('failing.once');
    for (const id of [always, once])
      await sender
        .handle(id)
        .result({ timeout: '60s' })
        .catch(() => {});
    // Drained: a try that should not be would be in front of this one.
    const last = await sender.send('failing.once');
    await until(() => ledger.read().runs.get(last)?.[0]?.endMs != null, 'the last task has run');
    await fleet.close();
    const told = (id: string, message: string): number => fleet.log(message).filter((line) => line['id'] === id).length;
    const { runs } = ledger.read();
    const attempts = (id: string): string => (runs.get(id) ?? []).map(({ attempt }) => attempt).join(' ');
    kit.claim('tries with retry: true', attempts(always), { equals: '1 2 3 4' });
    kit.claim('tries without a policy', attempts(once), { equals: '1' });
    kit.claim('state of the first', (await sender.handle(always).status()).state, { equals: 'FAILURE' });
    kit.claim('state of the second', (await sender.handle(once).status()).state, { equals: 'FAILURE' });
    kit.claim('log lines that tell of another try', told(always, 'task will be tried again'), { equals: 3 });
    kit.claim('log lines that tell of the end', told(always, 'task failed'), { equals: 1 });
  } finally {
    await scene.close();
  }
}

async function playCrowd(kit: Kit): Promise<void> {
  const scene = new Scene(kit, 'crowd', '5s');
  try {
    const fleet = await scene.fleet({ count: 2, app: APP, executors: 2, concurrency: 100 });
    const { sender, ledger } = scene;
    const port = await deadPort();
    /** From the end of the first try to the start of the second, by task. */
    const waits = new Map<string, number>();
    let fullest = 0;
    for (let round = 1; round <= ROUNDS[kit.size]; round++) {
      const ids = await sender.sendMany(
        'failing.call',
        Array.from({ length: CROWD }, () => ({ args: [port] })),
      );
      const runsOf = (id: string): readonly Run[] => ledger.read().runs.get(id) ?? [];
      await until(() => ids.every((id) => runsOf(id)[1]?.endMs != null), 'every task has had its second try', 60_000);
      const starts = ids.map((id) => runsOf(id)[1]?.startMs ?? 0);
      for (const [index, id] of ids.entries()) waits.set(id, (starts[index] as number) - (runsOf(id)[0]?.endMs ?? 0));
      fullest = Math.max(fullest, fullestWindow(starts, 1_000));
      kit.say(`round ${round}: ${CROWD} tasks failed together and again`);
    }
    const all = [...ledger.read().runs.values()];
    const mean = CROWD / BASE_S;
    kit.claim('tasks of the crowds', all.length, { equals: CROWD * ROUNDS[kit.size] });
    kit.claim(
      'tries of each',
      all.every((runs) => runs.map(({ attempt }) => attempt).join(' ') === '1 2'),
      { equals: true },
    );
    // What was drawn is in the log; how late it came true, on a machine that runs 1,000 tasks at once, is in the ledger.
    const drawn = new Map(fleet.log('task will be tried again').map((line) => [String(line['id']), Number(line['delayMs'])]));
    kit.claim('waits that the log tells', drawn.size, { equals: waits.size });
    kit.claim('they are spread as full jitter predicts: Kolmogorov-Smirnov p', evenness([...drawn.values()], BASE_S * 1_000), {
      above: 0.001,
    });
    const late = [...waits].map(([id, wait]) => wait - (drawn.get(id) ?? Number.NaN)).sort((a, b) => a - b);
    kit.claim('second tries that began before their time', late.filter((ms) => !(ms >= -5)).length, { equals: 0 });
    kit.claim(
      'second tries began after their time, p99',
      late[Math.floor(late.length * 0.99)] ?? null,
      { atMost: LATE_MS },
      'ms',
    );
    kit.claim('second tries in the fullest second', fullest, { atMost: Math.floor(mean + 5 * Math.sqrt(mean)) });
    kit.claim('workers that ended by themselves', fleet.crashes.length, { equals: 0 });
    kit.figure('second tries began after their time, p50', late[Math.floor(late.length / 2)] ?? Number.NaN, 'ms');
  } finally {
    await scene.close();
  }
}

export const drill: Drill = {
  name: 'endless-retry',
  scenario:
    'A task that always fails, with `retry: true` and without a policy; then 1,000 tasks that fail together because an API is dead (ten times at full size).',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: [],
  async run(kit) {
    await playEnds(kit);
    await playCrowd(kit);
  },
};
