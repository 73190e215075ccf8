/**
 * Random workflows of 1 to 200 tasks under faults that are drawn from a seed: tasks that fail, fail once, replace themselves, have
 * expired or are revoked, chords that settle all and such that grow, and workers that are killed with -9. A model says how each has to
 * end. All of them end within 30 s of the last event, and a failure prints the seed that plays it again.
 *
 * `LOVAGE_RANDOM_WORKFLOWS` (default 12 a broker), `LOVAGE_RANDOM_KILLS` (2) and `LOVAGE_RANDOM_SEED` make longer runs, and the same again.
 */
import { randomInt } from 'node:crypto';
import { type AnySignature, type App, chord, createApp, group, type Outcome } from 'lovage';
import { expect, test } from 'vitest';
import { CliWorker } from '../worker/cli-worker.js';
import type { CanvasBroker } from './chain-cases.js';
import { MISSING, total, type Value } from './faults-app.js';

const numberOf = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise);
const MOST_NODES = 200;
const WORKFLOWS = numberOf('LOVAGE_RANDOM_WORKFLOWS', 12);
const KILLS = numberOf('LOVAGE_RANDOM_KILLS', 2);
/** So long after the last event every workflow has ended. */
const ENDS = { timeout: '30s' } as const;
/** Of chords with parts of Python. They end within seconds of it, or some 20 s after it if the worker is killed that is about to end one. */
const DEADLINE = '10s';
const DEADLINE_ENDS = { timeout: '40s' } as const;

/** `grow` is a part of a chord only, and `python` of workflows with a worker of Celery. */
type Leaf = 'add' | 'flaky' | 'swap' | 'grow' | 'python' | 'fail' | 'pythonFail' | 'expire' | 'revoke';
type Flow =
  | { readonly kind: Leaf; readonly amount: number }
  | { readonly kind: 'chain' | 'group'; readonly flows: readonly Flow[] }
  | { readonly kind: 'chord'; readonly flows: readonly Flow[]; readonly body: Flow }
  /** A chord that settles all. */
  | { readonly kind: 'settled'; readonly flows: readonly Flow[]; readonly amount: number };

/** Numbers in [0, 1), the same for one seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Chances {
  /** How likely a task is one that ends badly. */
  readonly faults: number;
  /** How likely it is one of Python's. */
  readonly python: number;
  readonly random: () => number;
}

function draw(nodes: number, chances: Chances, isPart = false): Flow {
  const { faults, python, random } = chances;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const amount = 1 + Math.floor(random() * 99);
  if (nodes === 1) {
    const isTheirs = random() < python;
    if (random() < faults) return { kind: isTheirs ? 'pythonFail' : pick(['fail', 'expire', 'revoke'] as const), amount };
    const ours = ['add', 'add', 'add', 'flaky', 'swap', isPart ? 'grow' : 'add'] as const;
    return { kind: isTheirs ? 'python' : pick(ours), amount };
  }
  const kind = pick(['chain', 'group', 'chord', 'chord', 'settled'] as const);
  const isChord = kind === 'chord' || kind === 'settled';
  const left = isChord ? nodes - 1 : nodes;
  const parts = Math.min(left, 1 + Math.floor(random() * 6));
  const sizes = Array.from({ length: parts }, () => 1);
  for (let more = left - parts; more > 0; more--) sizes[Math.floor(random() * parts)]! += 1;
  const flows = sizes.map((size) => draw(size, chances, isChord));
  if (kind === 'settled') return { kind, flows: python > 0 ? flows.map(withoutGroup) : flows, amount };
  return kind === 'chord' ? { kind, flows, body: draw(1, chances) } : { kind, flows };
}

/** For Celery's workers the members of a group are parts of the chord around it, so there would be more outcomes. */
function withoutGroup(flow: Flow): Flow {
  if (flow.kind !== 'chain' && flow.kind !== 'group') return flow;
  const last = flow.flows.at(-1);
  return { kind: 'chain', flows: last ? [...flow.flows.slice(0, -1), withoutGroup(last)] : [] };
}

/** What a workflow gives for a value; `null` = it does not succeed. */
function expected(flow: Flow, value: Value): Value | null {
  switch (flow.kind) {
    case 'chain':
      return flow.flows.reduce<Value | null>((before, next) => (before === null ? null : expected(next, before)), value);
    case 'group':
      return allOf(flow.flows, value);
    case 'chord': {
      const results = allOf(flow.flows, value);
      return results === null ? null : expected(flow.body, [...results, ...addedBy(flow.flows)]);
    }
    case 'settled': {
      const results = flow.flows.map((each) => expected(each, value) ?? MISSING);
      return total([...results, ...addedBy(flow.flows), flow.amount]);
    }
    case 'fail':
    case 'pythonFail':
    case 'expire':
    case 'revoke':
      return null;
    default:
      return total(value) + flow.amount;
  }
}

function allOf(flows: readonly Flow[], value: Value): readonly Value[] | null {
  const results = flows.map((flow) => expected(flow, value));
  return results.some((each) => each === null) ? null : (results as Value[]);
}

/** What parts that were added later give. */
const addedBy = (flows: readonly Flow[]): number[] => flows.flatMap((flow) => (flow.kind === 'grow' ? flow.amount : []));

function tasksOf(app: App) {
  type Args = [value: Value, amount: number];
  const remote = (name: string) => app.remote<Args, number>(name, { queue: 'faults', delays: 'broker' });
  const theirs = (name: string) => app.remote<Args, number>(name, { queue: 'python' });
  return {
    ...{ add: remote('f.add'), flaky: remote('f.flaky'), swap: remote('f.swap'), grow: remote('f.grow'), fail: remote('f.fail') },
    ...{ python: theirs('py.total'), pythonFail: theirs('py.refuse') },
    settle: app.remote<[readonly Outcome<unknown>[], number], number>('f.settle', { queue: 'faults' }),
  };
}

/** @param revoked takes the ids of tasks to revoke */
function signatureOf(flow: Flow, tasks: ReturnType<typeof tasksOf>, revoked: string[]): AnySignature {
  const made = (each: Flow): AnySignature => signatureOf(each, tasks, revoked);
  switch (flow.kind) {
    case 'chain':
      return flow.flows.map(made).reduce((before, next) => before.pipe(next));
    case 'group':
      return group(flow.flows.map(made));
    case 'chord':
      return chord(group(flow.flows.map(made)), made(flow.body));
    case 'settled':
      return chord(group(flow.flows.map(made)), tasks.settle.s(flow.amount), { settle: 'all' });
    case 'expire':
      return tasks.add.with({ expires: new Date(Date.now() - 60_000) }).s(flow.amount);
    case 'revoke': {
      const id = `revoked-${randomInt(2 ** 47)}`;
      revoked.push(id);
      return tasks.add.with({ id, countdown: '2s' }).s(flow.amount);
    }
    default:
      return tasks[flow.kind].s(flow.amount);
  }
}

/** How a workflow ended, or that it did not. */
async function endOf(handle: { result(options: object): Promise<unknown> }, ends: object): Promise<unknown> {
  try {
    return { value: await handle.result(ends) };
  } catch (error) {
    const { code } = error as { code?: string };
    return code === 'E_TASK_FAILED' || code === 'E_TASK_REVOKED' ? { failed: true } : { neverEnded: String(error) };
  }
}

export interface Play extends Pick<CanvasBroker, 'brokerUrl' | 'resultUrl'> {
  /** Ends a worker the hard way and starts another; resolves when that is ready. */
  kill(): Promise<void>;
  /** A third of the tasks are Python's. `killed`: its worker is too, so that some of its tasks fall silent. */
  readonly python?: 'lives' | 'killed';
}

const leavesOf = (flow: Flow): Flow['kind'][] => [
  flow.kind,
  ...('flows' in flow ? flow.flows.flatMap(leavesOf) : []),
  ...('body' in flow ? leavesOf(flow.body) : []),
];

/** How it may end. Where Python's worker is the last to report, a chord that settles all fails as any other of Celery's. */
function endsOf(flow: Flow, python: Play['python']): readonly unknown[] {
  const value = expected(flow, 0);
  const kinds = new Set(leavesOf(flow));
  const mayFail =
    value === null || python === 'killed' || (kinds.has('settled') && (kinds.has('python') || kinds.has('pythonFail')));
  return [...(value === null ? [] : [{ value }]), ...(mayFail ? [{ failed: true }] : [])];
}

/** Draws, sends, kills and waits. A failure names the seed. */
export async function play({ brokerUrl, resultUrl, kill, python }: Play): Promise<void> {
  const seed = numberOf('LOVAGE_RANDOM_SEED', randomInt(2 ** 31));
  const random = randomFrom(seed);
  const app = createApp({
    // a full machine starts servers slowly
    ...{ name: 'faults-client', broker: brokerUrl, results: resultUrl, sendTimeout: '60s' },
    ...(python ? { resultTtl: DEADLINE } : {}),
  });
  const tasks = tasksOf(app);
  try {
    const sent: { readonly flow: Flow; readonly handle: { result(options: object): Promise<unknown> } }[] = [];
    for (let nth = 0; nth < WORKFLOWS; nth++) {
      const nodes = Math.max(1, Math.round(MOST_NODES ** random()));
      const chances = { faults: random() < 0.5 ? 0 : 2 / nodes, python: python ? 1 / 3 : 0, random };
      const drawn = draw(nodes, chances);
      const begun: Flow = { kind: 'chain', flows: [{ kind: 'add', amount: 0 }, drawn] };
      // a chord has a deadline, that of its sender; a chain has none
      const flow: Flow = python ? { kind: 'chord', flows: [begun], body: { kind: 'add', amount: 1 } } : begun;
      const revoked: string[] = [];
      const signature = signatureOf(flow, tasks, revoked);
      const whole = app.signature({ ...signature.toJSON(), args: [0] } as never);
      sent.push({ flow, handle: (await whole.send()) as never });
      for (const id of revoked) await app.handle(id).revoke();
    }
    for (let nth = 0; nth < KILLS; nth++) await kill();
    const ends = await Promise.all(sent.map(({ handle }) => endOf(handle, python ? DEADLINE_ENDS : ENDS)));
    for (const [index, { flow }] of sent.entries()) {
      expect(endsOf(flow, python), JSON.stringify(flow)).toContainEqual(ends[index]);
    }
  } catch (error) {
    throw new Error(`LOVAGE_RANDOM_SEED=${seed}: ${String(error)}`, { cause: error });
  } finally {
    await app.close();
  }
}

export interface FaultyWorkers {
  /** Ends one of them with -9 and starts another. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

/** Two workers in processes of their own. */
export async function startFaultyWorkers({
  brokerUrl,
  resultUrl,
}: Pick<CanvasBroker, 'brokerUrl' | 'resultUrl'>): Promise<FaultyWorkers> {
  const start = (): Promise<CliWorker> => {
    process.env.LOVAGE_TEST_BROKER = brokerUrl;
    process.env.LOVAGE_TEST_RESULTS = resultUrl;
    const args = ['--app', 'tests/canvas/faults-app.ts', '--lease', '1s', '--threads', '1', '--concurrency', '20'];
    return CliWorker.start([...args, '--events', 'off']);
  };
  const workers = await Promise.all([start(), start()]);
  return {
    async kill() {
      // it has just taken messages, or is between two of them: any moment will do
      const at = randomInt(2);
      workers[at]?.child.kill('SIGKILL');
      await workers[at]?.exit(10_000);
      workers[at] = await start();
    },
    stop: async () => void (await Promise.all(workers.map((worker) => worker.stop()))),
  };
}

/** @param open `disturb` does something to the servers, before each kill of a worker */
export function randomFaultsSuite(
  name: string,
  open: () => Promise<CanvasBroker & { readonly disturb?: () => Promise<void> }>,
): void {
  test(`random workflows on ${name} end as their model says, with their workers killed at random`, {
    timeout: 900_000,
  }, async () => {
    const broker = await open();
    const workers = await startFaultyWorkers(broker);
    const kill = async (): Promise<void> => {
      await broker.disturb?.();
      await workers.kill();
    };
    try {
      await play({ ...broker, kill });
    } finally {
      await workers.stop();
      await broker.close();
    }
  });
}

/** In memory nothing survives the process, so its workers are stopped without grace instead. */
export function randomStopsSuite(name: string, url: string): void {
  test(`random workflows on ${name} end as their model says, with their workers stopped at random`, {
    timeout: 900_000,
  }, async () => {
    process.env.LOVAGE_TEST_BROKER = process.env.LOVAGE_TEST_RESULTS = url;
    const module = (await import(/* @vite-ignore */ `${new URL('./faults-app.ts', import.meta.url).href}?${url}`)) as {
      app: App;
    };
    const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
    const start = () => module.app.worker({ pool: 'inline', concurrency: 20, grace: '0s', logger: silent });
    let worker = await start();
    try {
      const kill = async (): Promise<void> => {
        await worker.close();
        worker = await start();
      };
      await play({ brokerUrl: url, resultUrl: url, kill });
    } finally {
      await worker.close();
      await module.app.close();
    }
  });
}
