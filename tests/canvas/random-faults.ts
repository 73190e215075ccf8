/**
 * Random workflows of 1 to 200 tasks under faults that are drawn from a seed: tasks that fail, fail once, replace themselves, have
 * expired or are revoked, and workers that are killed with -9. A model says how each has to end. All of them end within 30 s of the last
 * event, and a failure prints the seed that plays it again.
 *
 * `LOVAGE_RANDOM_WORKFLOWS` (default 12 a broker), `LOVAGE_RANDOM_KILLS` (2) and `LOVAGE_RANDOM_SEED` make longer runs, and the same again.
 */
import { randomInt } from 'node:crypto';
import { type AnySignature, type App, chord, createApp, group, type Outcome } from 'lovage';
import { expect, test } from 'vitest';
import { CliWorker } from '../worker/cli-worker.js';
import type { CanvasBroker } from './chain-cases.js';
import { total, type Value } from './faults-app.js';

const numberOf = (name: string, otherwise: number): number => Number(process.env[name] ?? otherwise);
const MOST_NODES = 200;
const WORKFLOWS = numberOf('LOVAGE_RANDOM_WORKFLOWS', 12);
const KILLS = numberOf('LOVAGE_RANDOM_KILLS', 2);
/** So long after the last event every workflow has ended. */
const ENDS = { timeout: '30s' } as const;

type Leaf = 'add' | 'flaky' | 'swap' | 'fail' | 'expire' | 'revoke';
type Flow =
  | { readonly kind: Leaf; readonly amount: number }
  | { readonly kind: 'chain' | 'group'; readonly flows: readonly Flow[] }
  | { readonly kind: 'chord'; readonly flows: readonly Flow[]; readonly body: Flow };

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

/** @param faults how likely a task is one that ends badly */
function draw(nodes: number, faults: number, random: () => number): Flow {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  if (nodes === 1) {
    const kind =
      random() < faults ? pick(['fail', 'expire', 'revoke'] as const) : pick(['add', 'add', 'add', 'flaky', 'swap'] as const);
    return { kind, amount: 1 + Math.floor(random() * 99) };
  }
  const kind = pick(['chain', 'group', 'chord'] as const);
  const left = kind === 'chord' ? nodes - 1 : nodes;
  const parts = Math.min(left, 1 + Math.floor(random() * 6));
  const sizes = Array.from({ length: parts }, () => 1);
  for (let more = left - parts; more > 0; more--) sizes[Math.floor(random() * parts)]! += 1;
  const flows = sizes.map((size) => draw(size, faults, random));
  return kind === 'chord' ? { kind, flows, body: draw(1, faults, random) } : { kind, flows };
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
      return results === null ? null : expected(flow.body, results);
    }
    case 'fail':
    case 'expire':
    case 'revoke':
      return null;
    default:
      return total(value) + flow.amount;
  }
}

function allOf(flows: readonly Flow[], value: Value): Value | null {
  const results = flows.map((flow) => expected(flow, value));
  return results.some((each) => each === null) ? null : (results as Value[]);
}

function tasksOf(app: App) {
  type Args = [value: Value, amount: number];
  const remote = (name: string) => app.remote<Args, number>(name, { queue: 'faults', delays: 'broker' });
  const outcomes = app.remote<[readonly Outcome<number>[], number], number>('f.add', { queue: 'faults' });
  return { add: remote('f.add'), flaky: remote('f.flaky'), swap: remote('f.swap'), fail: remote('f.fail'), outcomes };
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
async function endOf(handle: { result(options: object): Promise<unknown> }): Promise<unknown> {
  try {
    return { value: await handle.result(ENDS) };
  } catch (error) {
    const { code } = error as { code?: string };
    return code === 'E_TASK_FAILED' || code === 'E_TASK_REVOKED' ? { failed: true } : { neverEnded: String(error) };
  }
}

/** Draws, sends and waits. @param kill ends a worker the hard way and starts another, and resolves when that is ready */
async function play(brokerUrl: string, resultUrl: string, seed: number, kill: () => Promise<void>): Promise<void> {
  const random = randomFrom(seed);
  const app = createApp({ name: 'faults-client', broker: brokerUrl, results: resultUrl });
  const tasks = tasksOf(app);
  try {
    const sent: { readonly flow: Flow; readonly handle: { result(options: object): Promise<unknown> } }[] = [];
    for (let nth = 0; nth < WORKFLOWS; nth++) {
      const nodes = Math.max(1, Math.round(MOST_NODES ** random()));
      const flow = draw(nodes, random() < 0.5 ? 0 : 2 / nodes, random);
      const revoked: string[] = [];
      const signature = signatureOf({ kind: 'chain', flows: [{ kind: 'add', amount: 0 }, flow] }, tasks, revoked);
      const whole = app.signature({ ...signature.toJSON(), args: [0] } as never);
      sent.push({ flow, handle: (await whole.send()) as never });
      for (const id of revoked) await app.handle(id).revoke();
    }
    for (let nth = 0; nth < KILLS; nth++) await kill();
    const ends = await Promise.all(sent.map(({ handle }) => endOf(handle)));
    for (const [index, { flow }] of sent.entries()) {
      const value = expected(flow, 0);
      expect(ends[index], JSON.stringify(flow)).toEqual(value === null ? { failed: true } : { value });
    }
  } catch (error) {
    throw new Error(`LOVAGE_RANDOM_SEED=${seed}: ${String(error)}`, { cause: error });
  } finally {
    await app.close();
  }
}

const seedOf = (): number => numberOf('LOVAGE_RANDOM_SEED', randomInt(2 ** 31));

/** With workers in processes of their own, which are killed. */
export function randomFaultsSuite(name: string, open: () => Promise<CanvasBroker>): void {
  test(`random workflows on ${name} end as their model says, with their workers killed at random`, {
    timeout: 900_000,
  }, async () => {
    const broker = await open();
    const start = (): Promise<CliWorker> => {
      process.env.LOVAGE_TEST_BROKER = broker.brokerUrl;
      process.env.LOVAGE_TEST_RESULTS = broker.resultUrl;
      const args = ['--app', 'tests/canvas/faults-app.ts', '--lease', '1s', '--threads', '1', '--concurrency', '20'];
      return CliWorker.start([...args, '--events', 'off']);
    };
    const workers = await Promise.all([start(), start()]);
    try {
      await play(broker.brokerUrl, broker.resultUrl, seedOf(), async () => {
        // it has just taken messages, or is between two of them: any moment will do
        const at = randomInt(2);
        workers[at]?.child.kill('SIGKILL');
        await workers[at]?.exit(10_000);
        workers[at] = await start();
      });
    } finally {
      await Promise.all(workers.map((worker) => worker.stop()));
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
      await play(url, url, seedOf(), async () => {
        await worker.close();
        worker = await start();
      });
    } finally {
      await worker.close();
      await module.app.close();
    }
  });
}
