/**
 * Workflows of every shape end as a model says: with the result that they would have as plain function calls, or as failures. Seeds
 * of workflows that do not are printed by fast-check.
 */

import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { type AnySignature, chain, chord, createApp, group, NonRetryableError, taskContext, type Worker } from 'lovage';
import { afterAll, beforeAll, expect, test } from 'vitest';

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const RUNS = 60;
const MOST_NODES = 60;

/** Every node takes a value, and gives one; the first of a workflow takes 0. */
type Flow =
  | { readonly kind: 'add'; readonly amount: number }
  | { readonly kind: 'fail' | 'expire' }
  | { readonly kind: 'chain' | 'group'; readonly flows: readonly Flow[] }
  | { readonly kind: 'chord'; readonly flows: readonly Flow[]; readonly body: Flow };
type Value = number | readonly Value[];

const size = (flow: Flow): number => {
  const own = 'flows' in flow ? flow.flows.reduce((sum, each) => sum + size(each), 0) : 1;
  return flow.kind === 'chord' ? own + size(flow.body) : own;
};

const flows = fc
  .letrec<{ flow: Flow; task: Flow; whole: Flow }>((tie) => ({
    task: fc.oneof(
      { weight: 40, arbitrary: fc.record({ kind: fc.constant('add' as const), amount: fc.integer({ min: 1, max: 99 }) }) },
      { weight: 1, arbitrary: fc.constant<Flow>({ kind: 'fail' }) },
      { weight: 1, arbitrary: fc.constant<Flow>({ kind: 'expire' }) },
    ),
    whole: fc.oneof(
      fc.record({
        kind: fc.constantFrom('chain' as const, 'group' as const),
        flows: fc.array(tie('flow'), { minLength: 1, maxLength: 6 }),
      }),
      fc.record({
        kind: fc.constant('chord' as const),
        flows: fc.array(tie('flow'), { minLength: 1, maxLength: 6 }),
        body: tie('flow'),
      }),
    ),
    flow: fc.oneof({ maxDepth: 4, depthSize: 'large' }, tie('task'), tie('whole')),
  }))
  .whole.filter((flow) => size(flow) <= MOST_NODES);

const total = (value: Value): number =>
  typeof value === 'number' ? value : value.reduce((sum: number, each) => sum + total(each), 0);

/** What a workflow gives for a value; `null` = it fails. */
function expected(flow: Flow, value: Value): Value | null {
  switch (flow.kind) {
    case 'add':
      return total(value) + flow.amount;
    case 'chain':
      return flow.flows.reduce<Value | null>((before, next) => (before === null ? null : expected(next, before)), value);
    case 'group':
      return all(flow.flows, value);
    case 'chord': {
      const results = all(flow.flows, value);
      return results === null ? null : expected(flow.body, results);
    }
    default:
      return null;
  }
}

function all(members: readonly Flow[], value: Value): Value | null {
  const results = members.map((member) => expected(member, value));
  return results.some((each) => each === null) ? null : (results as Value[]);
}

const app = createApp({ broker: 'memory:random-workflows', results: 'memory:random-workflows', logger: silent });
/** The tasks that ran, of each workflow: parts of one that has failed may still run beside the next. */
const ran = new Map<string, string[]>();
const add = app.fn('add', (value: unknown, amount: number) => {
  const { id, rootId } = taskContext();
  ran.get(rootId)?.push(id);
  return total(value as Value) + amount;
});
const fail = app.fn('fail', (_value: unknown): number => {
  throw new NonRetryableError('as told');
});

function signature(flow: Flow): AnySignature {
  switch (flow.kind) {
    case 'add':
      return add.s(flow.amount);
    case 'fail':
      return fail.s();
    case 'expire':
      return add.with({ expires: new Date(Date.now() - 60_000) }).s(1);
    case 'chain':
      return flow.flows.map(signature).reduce((before, next) => before.pipe(next));
    case 'group':
      return group(flow.flows.map(signature));
    case 'chord':
      return chord(group(flow.flows.map(signature)), signature(flow.body));
  }
}

let worker: Worker;
beforeAll(async () => {
  worker = await app.worker({ pool: 'inline', concurrency: 20, grace: '2s', logger: silent });
});
afterAll(async () => {
  await worker.close();
  await app.close();
});

test('workflows of any shape end as their model says', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(flows, async (flow) => {
      const rootId = randomUUID();
      const ids: string[] = [];
      ran.set(rootId, ids);
      const start = add.with({ id: rootId }).si(0, 0);
      const handle = (await chain(start, signature(flow)).send()) as { result(options: object): Promise<unknown> };
      const end = await handle.result({ timeout: '20s' }).then(
        (value) => ({ value }),
        (error: { code?: string }) => ({ code: error.code }),
      );
      const value = expected(flow, 0);
      if (value === null) expect(['E_TASK_FAILED', 'E_TASK_REVOKED', 'E_TASK_EXPIRED']).toContain('code' in end ? end.code : end);
      else expect(end).toEqual({ value });
      expect(new Set(ids).size).toBe(ids.length);
      if (value !== null) expect(ids).toHaveLength(1 + size(flow));
    }),
    { numRuns: RUNS, endOnFailure: false },
  );
});
