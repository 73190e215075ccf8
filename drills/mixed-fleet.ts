/**
 * Drill 18: an estate of two languages. Clients and workers of Python (5.2 and 5.6) and of ours share one broker and one queue, have
 * queues of their own beside it, and make workflows whose parts lie in either. Who sees and steers whom is `mixed-control.ts`.
 */
import { fileURLToPath } from 'node:url';
import { chain, chord, group, type RemoteTask } from 'lovage';
import { hasCelery, type PythonCanvas, PythonClient, type PythonReply, startPythonWorker } from '../tests/support/celery.js';
import type { LedgerView } from './harness/ledger.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { untilOrStuck } from './harness/wait.js';
import { type Estate, type Language, playControl, QUEUES } from './mixed-control.js';

const APP = fileURLToPath(new URL('./apps/mixed.ts', import.meta.url));
const PYTHON_FOLDER = fileURLToPath(new URL('./apps/', import.meta.url));
/** Beside the queues of each language, one for both: the tasks are the same, the queue decides who runs them. */
const SHARED = 'mixed';
const LANGUAGES = Object.keys(QUEUES) as Language[];
const SOON = { timeout: '30s' } as const;
const SECONDS = 30;

interface Sizes {
  /** Calls of each client into the shared queue. */
  readonly calls: number;
  /** Times that each client makes each workflow. */
  readonly rounds: number;
}

const SIZES: Readonly<Record<Kit['size'], Sizes>> = {
  quick: { calls: 60, rounds: 1 },
  full: { calls: 2_000, rounds: 20 },
};

/** A workflow as `client.py` builds it; its own type has no chords. */
type Part =
  | { readonly chain: readonly Part[] }
  | { readonly group: readonly Part[] }
  | { readonly chord: readonly Part[]; readonly body: Part }
  | { readonly task: string; readonly args: readonly unknown[]; readonly options: object };

const step = (where: Language, task: string, ...args: unknown[]): Part => ({
  ...{ task: `mixed.${task}`, args, options: { queue: QUEUES[where] } },
});

const other = (language: Language): Language => (language === 'ours' ? 'theirs' : 'ours');

/** One workflow: how each client makes it, and its result; `null` = it fails. The last word is spoken in `last`. */
interface Workflow {
  readonly name: string;
  readonly result: unknown;
  python(last: Language): Part;
  /** Sends it and waits for its result. */
  ours(tasks: Tasks, last: Language): Promise<unknown>;
}

/** The tasks as our client calls them. */
interface Tasks {
  add(where: Language): RemoteTask<[x: number, y: number], number>;
  sum(where: Language): RemoteTask<[numbers: number[]], number>;
  fail(where: Language): RemoteTask<[message: string], number>;
}

const WORKFLOWS: readonly Workflow[] = [
  {
    name: 'chain',
    result: 433,
    python: (last) => ({ chain: [step(last, 'add', 1, 2), step(other(last), 'add', 30), step(last, 'add', 400)] }),
    ours: async ({ add }, last) =>
      (await chain(add(last).si(1, 2), add(other(last)).s(30), add(last).s(400)).send()).result(SOON),
  },
  {
    name: 'group',
    result: [2, 4, 6],
    python: (last) => ({ group: [step(other(last), 'add', 1, 1), step(last, 'add', 2, 2), step(other(last), 'add', 3, 3)] }),
    ours: async ({ add }, last) =>
      (await group(add(other(last)).si(1, 1), add(last).si(2, 2), add(other(last)).si(3, 3)).send()).result(SOON),
  },
  {
    name: 'chord',
    result: 12,
    python: (last) => ({
      chord: [step('ours', 'add', 1, 1), step('theirs', 'add', 2, 2), step(other(last), 'add', 3, 3)],
      body: step(last, 'sum'),
    }),
    ours: async ({ add, sum }, last) =>
      (await chord(group(add('ours').si(1, 1), add('theirs').si(2, 2), add(other(last)).si(3, 3)), sum(last).s()).send()).result(
        SOON,
      ),
  },
  {
    name: 'chains in a chord in a chain',
    result: 1_150,
    python: (last) => ({
      chain: [
        {
          chord: [
            { chain: [step('ours', 'add', 3, 3), step('theirs', 'add', 10)] },
            { chain: [step('theirs', 'add', 4, 4), step('ours', 'add', 20)] },
            step('ours', 'add', 3, 3),
          ],
          body: step(last, 'sum'),
        },
        step(other(last), 'add', 100),
        step(last, 'add', 1_000),
      ],
    }),
    ours: async ({ add, sum }, last) => {
      const parts = group(
        chain(add('ours').si(3, 3), add('theirs').s(10)),
        chain(add('theirs').si(4, 4), add('ours').s(20)),
        add('ours').si(3, 3),
      );
      return (await chain(parts, sum(last).s(), add(other(last)).s(100), add(last).s(1_000)).send()).result(SOON);
    },
  },
  {
    name: 'chord of which a part fails',
    result: null,
    python: (last) => ({ chord: [step('ours', 'add', 1, 1), step(other(last), 'fail', 'boom')], body: step(last, 'sum') }),
    ours: async ({ add, sum, fail }, last) =>
      (await chord(group([add('ours').si(1, 1), fail(other(last)).si('boom')]), sum(last).s()).send()).result(SOON),
  },
];

/** What came of a workflow: its result, `null` when it failed with what its part threw, or words about the trouble. */
const asResult = (work: Promise<unknown>): Promise<unknown> =>
  work.catch((error: Error) => (error.message.includes('boom') ? null : `trouble: ${error.message}`));

async function askPython(client: PythonClient, canvas: Part): Promise<unknown> {
  const reply: PythonReply = await client.ask({ canvas: canvas as PythonCanvas });
  if (reply.error) return reply.error.text.includes('boom') ? null : `trouble: ${reply.error.text}`;
  return reply.timeout ? 'trouble: no result in time' : reply.result;
}

async function playWorkflows({ kit, scene, clients }: Estate): Promise<void> {
  const { rounds } = SIZES[kit.size];
  const { app } = scene.sender;
  const tasks: Tasks = {
    add: (where) => app.remote('mixed.add', { queue: QUEUES[where] }),
    sum: (where) => app.remote<[numbers: number[]], number>('mixed.sum', { queue: QUEUES[where] }),
    fail: (where) => app.remote('mixed.fail', { queue: QUEUES[where] }),
  };
  const senders = [
    ['TypeScript', (one: Workflow, last: Language) => asResult(one.ours(tasks, last))],
    ...[...clients].map(
      ([version, client]) =>
        [`Celery ${version}`, (one: Workflow, last: Language) => askPython(client, one.python(last))] as const,
    ),
  ] as const;
  // Each client makes one after the other, as client.py answers; the clients at once.
  const made = await Promise.all(
    senders.map(async ([sender, send]) => {
      const rights: number[] = [];
      for (const one of WORKFLOWS) {
        let right = 0;
        for (let round = 0; round < rounds; round += 1)
          for (const last of LANGUAGES) {
            const result = await send(one, last);
            if (JSON.stringify(result) === JSON.stringify(one.result)) right += 1;
            else kit.say(`${sender}, ${one.name}, last in ${last}: ${JSON.stringify(result)}`);
          }
        rights.push(right);
      }
      return rights;
    }),
  );
  for (const [index, [sender]] of senders.entries())
    for (const [which, { name }] of WORKFLOWS.entries()) {
      const right = made[index]?.[which] ?? null;
      kit.claim(`${sender}: ${name}, across the languages, as it should end`, right, { equals: rounds * LANGUAGES.length });
    }
}

/** Calls that the broker had not confirmed in time, so that they were sent again, under the same id: two messages, which may both run. */
const sentAgain = ({ faults }: LedgerView): ReadonlySet<string> =>
  new Set(faults.flatMap(({ kind, target }) => (kind === 'resend' ? [target.replace(/^task:/, '')] : [])));

/** All clients send into the shared queue at once; any worker runs what it gets. */
async function playCalls({ kit, scene, clients }: Estate): Promise<void> {
  const { calls } = SIZES[kit.size];
  const { sender, ledger } = scene;
  const rows = Array.from({ length: calls }, (_, index) => ({ args: [index, 1] }));
  const python = [...clients].map(async ([version, client]) => {
    const { ids = [] } = await client.ask({
      send: rows.map(({ args }) => ({ task: 'mixed.add', args, options: { queue: SHARED } })),
    });
    ledger.sent(ids);
    return [`Celery ${version}`, ids] as const;
  });
  const sent = await Promise.all([sender.sendMany('mixed.add', rows).then((ids) => ['TypeScript', ids] as const), ...python]);
  const ids = new Set(sent.flatMap(([, some]) => some));
  await untilOrStuck(
    () => ledger.read().executed.size >= ids.size,
    () => ledger.read().lines,
    { idleMs: 20_000, totalMs: 300_000 },
  );
  for (const [who, some] of sent) {
    const results = await Promise.all(some.map((id) => asResult(sender.app.handle(id).result(SOON))));
    const right = results.filter((result, index) => result === index + 1).length;
    kit.claim(`calls from ${who} into the shared queue: right results`, right, { equals: calls });
  }
  for (const [version, client] of clients) {
    const [, ours = []] = sent[0];
    let read = 0;
    for (const [index, id] of ours.entries()) {
      const { state, info } = await client.ask({ state: id });
      if (state === 'SUCCESS' && info === index + 1) read += 1;
    }
    kit.claim(`results of calls from TypeScript, as Celery ${version} reads them`, read, { equals: calls });
  }
  const view = ledger.read();
  kit.claim('calls that did not run', [...ids].filter((id) => !view.executed.has(id)).length, { equals: 0 });
  const again = sentAgain(view);
  const twice = [...ids].filter((id) => !again.has(id) && (view.runs.get(id)?.length ?? 0) > 1);
  kit.claim('calls that ran twice, and were sent once', twice.length, { equals: 0 });
  if (again.size > 0) kit.figure('calls that were sent again, because the broker had not confirmed them in time', again.size);
  const shares = new Map<string, number>();
  for (const runs of view.runs.values()) for (const { worker } of runs) shares.set(worker, (shares.get(worker) ?? 0) + 1);
  kit.claim('workers that had a share of the shared queue', shares.size, { equals: 2 + clients.size });
  kit.figure('calls that each ran', [...shares].map(([worker, count]) => `${worker}: ${count}`).join(', '));
}

async function play(kit: Kit): Promise<void> {
  const versions = (['5.2', '5.6'] as const).filter(hasCelery);
  if (versions.length === 0) throw new Error('Celery is not installed (npm run setup:servers)');
  const { brokerUrl, resultUrl } = kit.broker;
  const scene = new Scene(kit, SHARED, '15s');
  const clients = new Map(versions.map((version) => [version, new PythonClient(version, brokerUrl, resultUrl)]));
  const python = { folder: PYTHON_FOLDER, module: 'mixed_python', queue: `${SHARED},${QUEUES.theirs}` };
  const pythons: Awaited<ReturnType<typeof startPythonWorker>>[] = [];
  try {
    const [fleet] = await Promise.all([
      scene.fleet({ count: 2, app: APP, queue: `${SHARED},${QUEUES.ours}`, concurrency: 4 }),
      ...versions.map(async (version) => {
        const env = { LOVAGE_DRILL_LEDGER: scene.ledger.file, LOVAGE_DRILL_WORKER: `python-${version}` };
        pythons.push(await startPythonWorker(version, brokerUrl, resultUrl, python, env));
      }),
      ...[...clients.values()].map((client) => client.start()),
    ]);
    const estate: Estate = { kit, scene, fleet, clients, pythons };
    await playCalls(estate);
    await playWorkflows(estate);
    await playControl(estate);
    const view = scene.ledger.read();
    const repeated = sentAgain(view);
    const again = [...view.runs].filter(
      ([id, list]) => !repeated.has(id) && new Set(list.map(({ attempt }) => attempt)).size < list.length,
    );
    kit.claim('tries that ran twice, of any task that was sent once', again.length, { equals: 0 });
    kit.claim('workers of ours that ended by themselves', fleet.crashes.length, { equals: 0 });
  } finally {
    await Promise.all([...pythons.map((worker) => worker.stop()), ...[...clients.values()].map((client) => client.close())]);
    await scene.close();
  }
}

export const drill: Drill = {
  name: 'mixed-fleet',
  scenario: `Clients and workers of Celery 5.2, Celery 5.6 and Lovage on one broker: calls into a queue that all share, chains, groups and chords whose parts lie in either language, then inspect, control, revocation and events in both directions, each within ${SECONDS} s.`,
  brokers: ['redis', 'rabbitmq'],
  testedOn: ['redis'],
  run: play,
};
