/**
 * A task that gives its place to a workflow (Celery's `self.replace`): the end of that gets the id of the task, its place in group and
 * chord, its callbacks and errbacks, and the rest of its chain. Pure. Source: wire section 7.8.
 */
import { EPOCH_HEADER } from '../wire/own-headers.js';
import { makeSignature, parseSignature, parseSignatures, type WireSignature } from '../wire/signature.js';
import type { Embed } from './after.js';
import { attach, type FreezeContext, freeze, type Tail } from './freeze.js';
import { type CanvasPlan, emptyPlan, start } from './plan.js';
import { chunksAsGroup, kindOf, makeChord, partsOf, tasksOf, unfolded, withTasks } from './shapes.js';

/** The task that is replaced. */
export interface ReplacedTask {
  readonly id: string;
  readonly groupId: string | null;
  readonly groupIndex: number | null;
  /** How many replacements stand before this one. */
  readonly nesting: number;
  /** Under which its end writes its result; 0 = never claimed. */
  readonly epoch: number;
}

/** The same with ids, its end with that of the task; for those who look at it before it is sent. @throws WireError `E_DECODE` */
export const inPlaceOf = (given: WireSignature, task: ReplacedTask, context: FreezeContext): WireSignature =>
  freeze(withEnd(asOneResult(given), task), context);

/** What to send in place of the task. @throws WireError `E_DECODE` when a part is no signature */
export function replacement(given: WireSignature, embed: Embed, task: ReplacedTask, context: FreezeContext): CanvasPlan {
  const errbacks = parseSignatures(embed.errbacks, 'embed.errbacks');
  const whole = withErrbacks(withEnd(asOneResult(given), task), errbacks);
  const frozen = attach(freeze(whole, context), tailOf(embed, task), context);
  const plan = emptyPlan();
  start(frozen, { args: [], rest: embed.chain === null ? null : parseSignatures(embed.chain, 'embed.chain') }, context, plan);
  const replaced_task_nesting = task.nesting + 1;
  const tasks = plan.tasks.map(({ signature, chain }) => ({
    signature: withOptions(signature, { replaced_task_nesting }),
    chain,
  }));
  return { ...plan, tasks };
}

/** A group has many results, and the task was to have one: the list of them. */
function asOneResult(given: WireSignature): WireSignature {
  const signature = kindOf(given) === 'chunks' ? chunksAsGroup(given) : unfolded(given);
  if (kindOf(signature) === 'group') return makeChord(signature, makeSignature('celery.accumulate', { kwargs: { index: 0 } }));
  if (kindOf(signature) !== 'chain') return signature;
  const steps = tasksOf(signature);
  const last = steps.pop();
  return last === undefined ? signature : withTasks(signature, [...steps, asOneResult(last)]);
}

/** The same, whose last task has the id of the one that is replaced. */
function withEnd(signature: WireSignature, task: ReplacedTask): WireSignature {
  switch (kindOf(signature)) {
    case 'chain': {
      const steps = tasksOf(signature);
      const last = steps.pop();
      return last === undefined ? signature : withTasks(signature, [...steps, withEnd(last, task)]);
    }
    case 'chord': {
      const { header, body } = partsOf(signature);
      return { ...signature, kwargs: { ...signature.kwargs, header, body: withEnd(asOneResult(body), task) } };
    }
    default: {
      const { headers } = signature.options;
      const own = task.epoch > 0 ? { headers: { ...headers, [EPOCH_HEADER]: task.epoch } } : {};
      return withOptions(signature, { task_id: task.id, ...own });
    }
  }
}

function withErrbacks(signature: WireSignature, errbacks: readonly WireSignature[]): WireSignature {
  if (errbacks.length === 0) return signature;
  return withOptions(signature, { link_error: [...parseSignatures(signature.options.link_error, 'link_error'), ...errbacks] });
}

function tailOf({ chord, callbacks }: Embed, { groupId, groupIndex }: ReplacedTask): Tail {
  const link = parseSignatures(callbacks, 'embed.callbacks');
  return {
    ...(groupId !== null && { group_id: groupId }),
    ...(groupIndex !== null && { group_index: groupIndex }),
    ...(chord !== null && { chord: parseSignature(chord, 'embed.chord') }),
    ...(link.length > 0 && { link }),
  };
}

const withOptions = (signature: WireSignature, options: WireSignature['options']): WireSignature => ({
  ...signature,
  options: { ...signature.options, ...options },
});
