/**
 * What has to be sent for a canvas to begin: the tasks that can run at once, each with what follows it, and the chords whose
 * parts are among them. Pure: it sends nothing. Used by senders for whole canvases and by workers for what follows a task.
 * Source: wire sections 7.3 to 7.6; recorded vectors `e-*`.
 */
import { mergeSignature, type WireSignature } from '../wire/signature.js';
import { attach, chainOfFrozen, type FreezeContext, freeze, type Tail } from './freeze.js';
import { takesOutcomes, takingOutcomes, withoutMark } from './outcomes.js';
import { kindOf, partsOf, tasksOf } from './shapes.js';

/** A task to send. Its options hold id, group, chord, callbacks and the rest. */
export interface PlannedTask {
  readonly signature: WireSignature;
  /** What comes after it, reversed: the next step is the last element. `null` when it is no part of a chain. */
  readonly chain: readonly WireSignature[] | null;
}

/** A chord whose parts are about to be sent: whoever counts them must know of it before. */
export interface PlannedChord {
  readonly groupId: string;
  /** How many parts report. */
  readonly size: number;
  readonly body: WireSignature;
}

export interface CanvasPlan {
  readonly tasks: PlannedTask[];
  readonly chords: PlannedChord[];
}

export interface StartOptions {
  /** Put before the arguments of what is started, unless it is immutable. */
  readonly args: readonly unknown[];
  /** Steps after it, reversed; `null` outside a chain. */
  readonly rest: readonly WireSignature[] | null;
}

export const emptyPlan = (): CanvasPlan => ({ tasks: [], chords: [] });

/** Adds what a frozen canvas sends first. @throws WireError `E_DECODE` when a part is no signature */
export function start(signature: WireSignature, options: StartOptions, context: FreezeContext, plan: CanvasPlan): void {
  const { rest } = options;
  const args = signature.immutable ? signature.args : [...options.args, ...signature.args];
  const isLast = rest === null || rest.length === 0;
  switch (kindOf(signature)) {
    case 'chain': {
      const [first, ...others] = tasksOf(signature);
      if (first !== undefined) start(first, { args, rest: [...(rest ?? []), ...others.reverse()] }, context, plan);
      return;
    }
    case 'group':
      if (isLast) startMembers(signature, { args, rest }, {}, context, plan);
      else startChord(signature, chainOfFrozen(rest.toReversed(), context), args, context, plan);
      return;
    case 'chord': {
      const { header, body } = partsOf(signature);
      const whole = isLast ? body : chainOfFrozen([withoutMark(body), ...rest.toReversed()], context);
      startChord(header, takesOutcomes(body) ? takingOutcomes(whole) : whole, [...args, ...header.args], context, plan);
      return;
    }
    default:
      plan.tasks.push({ signature: mergeSignature(signature, { args: options.args }), chain: rest });
  }
}

function startChord(
  header: WireSignature,
  body: WireSignature,
  args: readonly unknown[],
  context: FreezeContext,
  plan: CanvasPlan,
): void {
  const size = tasksOf(header).length;
  if (size === 0) {
    start(withoutMark(body), { args: [[]], rest: null }, context, plan);
    return;
  }
  plan.chords.push({ groupId: header.options.task_id as string, size, body });
  startMembers(header, { args, rest: null }, { chord: body }, context, plan);
}

function startMembers(
  group: WireSignature,
  options: StartOptions,
  tail: Pick<Tail, 'chord'>,
  context: FreezeContext,
  plan: CanvasPlan,
): void {
  const group_id = group.options.task_id as string;
  for (const [group_index, member] of tasksOf(group).entries())
    start(attach(member, { group_id, group_index, ...tail }, context), options, context, plan);
}

/** What a chord's body sends first, once the results of its header are known. */
export function startBody(body: WireSignature, results: readonly unknown[], context: FreezeContext): CanvasPlan {
  const plan = emptyPlan();
  start(freeze(withoutMark(withoutHeaderGroup(body)), context), { args: [results], rest: null }, context, plan);
  return plan;
}

/** Celery leaves the id of the header's group in the options of the body, without an index: the body is no member of it. */
function withoutHeaderGroup(body: WireSignature): WireSignature {
  const { group_id, ...options } = body.options;
  return group_id === undefined || options.group_index !== undefined ? body : { ...body, options };
}
