/**
 * What follows the end of a task: after a success its callbacks and the next step of its chain, after anything else the failures
 * of all that will never run, and its errbacks. Pure. Source: wire sections 7.2 and 7.3.
 */

import type { WireMessage } from '../wire/message.js';
import type { ResultChild } from '../wire/result-meta.js';
import { parseSignature, parseSignatures, type WireSignature } from '../wire/signature.js';
import { decodeTaskBody, type TaskBody } from '../wire/task-body.js';
import type { TaskHeaders } from '../wire/task-headers.js';
import { type FreezeContext, finalIdOf, freeze } from './freeze.js';
import { type CanvasPlan, emptyPlan, start } from './plan.js';
import { kindOf, makeGroup, partsOf, tasksOf, unfolded } from './shapes.js';

export type Embed = TaskBody['embed'];

/** Whether anything follows the task, or waits for it. */
export const hasCanvas = ({ callbacks, errbacks, chain, chord }: Embed): boolean =>
  isSome(callbacks) || isSome(errbacks) || isSome(chain) || chord !== null;

/** Whether a success leads to other tasks. */
export const hasFollowing = ({ callbacks, chain }: Embed): boolean => isSome(callbacks) || isSome(chain);

const isSome = (list: readonly unknown[] | null): boolean => list !== null && list.length > 0;

export interface Following {
  readonly plan: CanvasPlan;
  /** What of it the task's result lists. */
  readonly children: readonly ResultChild[];
}

/** @throws WireError `E_DECODE` when a part is no signature */
export function afterSuccess(embed: Embed, result: unknown, context: FreezeContext): Following {
  const plan = emptyPlan();
  const children: ResultChild[] = [];
  const begin = (signature: WireSignature, rest: readonly WireSignature[] | null): void => {
    const frozen = freeze(signature, context);
    start(frozen, { args: [result], rest }, context, plan);
    children.push(...childrenOf(frozen));
  };
  const callbacks = parseSignatures(embed.callbacks, 'embed.callbacks');
  const plain = callbacks.filter((callback) => kindOf(callback) === 'task');
  // Celery sends several plain ones as a group
  if (plain.length > 1) begin(makeGroup(plain), null);
  for (const callback of plain.length > 1 ? callbacks.filter((each) => kindOf(each) !== 'task') : callbacks)
    begin(callback, null);
  const steps = parseSignatures(embed.chain, 'embed.chain');
  const next = steps.pop();
  if (next !== undefined) begin(next, steps);
  return { plan, children };
}

/** What is sent first of a frozen canvas, as the result of its sender lists it; of a chord its body too, which nobody else lists. */
function childrenOf(signature: WireSignature): ResultChild[] {
  switch (kindOf(signature)) {
    case 'chain': {
      const [first] = tasksOf(signature);
      return first === undefined ? [] : childrenOf(first);
    }
    case 'group': {
      const members = tasksOf(signature).flatMap(childrenOf);
      return [{ group: signature.options.task_id as string, members }];
    }
    case 'chord': {
      const { header, body } = partsOf(signature);
      return [...childrenOf(header), finalIdOf(body)];
    }
    default:
      return [signature.options.task_id as string];
  }
}

/** A part of a chord that has ended, or never will begin. */
export interface ChordPart {
  readonly groupId: string;
  readonly index: number | null;
  readonly taskId: string;
  readonly body: WireSignature;
}

/** What will never run because a task before it did not succeed. */
export interface Unreachable {
  /** Ids that must get the same outcome, or whoever waits for them waits for ever. */
  readonly ids: readonly string[];
  /** The tasks with these ids, in the same order. */
  readonly tasks: readonly WireSignature[];
  /** Parts of chords that they would have been. */
  readonly parts: readonly ChordPart[];
}

/** What will never run when these do not. @throws WireError `E_DECODE` when a part is no signature */
export function unreachable(signatures: unknown): Unreachable {
  const ids: string[] = [];
  const tasks: WireSignature[] = [];
  const parts: ChordPart[] = [];
  const visit = (given: WireSignature): void => {
    const signature = unfolded(given);
    switch (kindOf(signature)) {
      case 'chain':
        for (const step of tasksOf(signature)) visit(step);
        return;
      case 'group':
        for (const member of tasksOf(signature)) visit(member);
        return;
      case 'chord': {
        const { header, body } = partsOf(signature);
        // its parts would report to its own body only
        for (const member of tasksOf(header)) visit(withoutChord(member));
        visit(body);
        return;
      }
      default: {
        const { task_id, chord, group_id, group_index } = signature.options;
        if (typeof task_id !== 'string') return;
        ids.push(task_id);
        tasks.push(signature);
        if (chord != null && typeof group_id === 'string') {
          const index = typeof group_index === 'number' ? group_index : null;
          parts.push({ groupId: group_id, index, taskId: task_id, body: parseSignature(chord, 'options.chord') });
        }
      }
    }
  };
  for (const signature of parseSignatures(signatures)) visit(signature);
  return { ids, tasks, parts };
}

/** Errbacks, and the task that they are told of. */
export interface ErrbacksOf {
  readonly failedId: string;
  readonly errbacks: readonly WireSignature[];
}

/**
 * The errbacks of what a canvas begins with; for a body that will never begin. Of a group those of all members, each told of its own
 * member; what was given to the group, and so hangs on each, is told once.
 */
export function firstErrbacks(signature: WireSignature, failedId: string): ErrbacksOf[] {
  switch (kindOf(signature)) {
    case 'chain': {
      const [first] = tasksOf(signature);
      return first === undefined ? [] : firstErrbacks(first, failedId);
    }
    case 'group': {
      const told = new Set<string>();
      return tasksOf(signature).flatMap((member) =>
        firstErrbacks(member, finalIdOf(member)).map(({ failedId: own, errbacks }) => ({
          failedId: own,
          errbacks: errbacks.filter((errback) => told.size < told.add(JSON.stringify(errback)).size),
        })),
      );
    }
    case 'chord':
      return firstErrbacks(partsOf(signature).body, failedId);
    default:
      return [{ failedId, errbacks: parseSignatures(signature.options.link_error, 'link_error') }];
  }
}

/** The part of a chord that a task itself is, if it is one. @throws WireError `E_DECODE` */
export function ownPart(embed: Embed, headers: Pick<TaskHeaders, 'id' | 'groupId' | 'groupIndex'>): ChordPart | null {
  if (embed.chord === null || headers.groupId === null) return null;
  const { id: taskId, groupId, groupIndex: index } = headers;
  return { taskId, groupId, index, body: parseSignature(embed.chord, 'embed.chord') };
}

const withoutChord = (signature: WireSignature): WireSignature => {
  const { chord: _chord, ...options } = signature.options;
  return { ...signature, options };
};

/** The errbacks of a failed task, each called with its id; always a group, as Celery sends them. */
export function errbacksOf(errbacks: unknown, failedId: string, context: FreezeContext): CanvasPlan {
  const plan = emptyPlan();
  const signatures = parseSignatures(errbacks, 'embed.errbacks');
  if (signatures.length > 0) start(freeze(makeGroup(signatures), context), { args: [failedId], rest: null }, context, plan);
  return plan;
}

/** The last part of a body behind which nothing comes, as Celery and we write it. */
const EMPTY_END = /"callbacks": ?null, ?"errbacks": ?null, ?"chain": ?(?:null|\[\]), ?"chord": ?null\}\]$/;
/** Longer than that, and a multiple of what base64 takes at once. */
const END_LENGTH = 120;

/** Whether something may be behind a task, without decoding its body: most have nothing. */
export function mayHaveCanvas({ body, headers, contentType }: WireMessage): boolean {
  if (headers['compression'] !== undefined || contentType !== 'application/json') return true;
  const { data } = body;
  if (typeof data !== 'string') return !EMPTY_END.test(Buffer.from(data.subarray(-END_LENGTH)).toString('latin1'));
  if (body.encoding === 'utf8') return !EMPTY_END.test(data.slice(-END_LENGTH));
  return !EMPTY_END.test(Buffer.from(data.slice(-END_LENGTH), 'base64').toString('latin1'));
}

/** Ids of what will never run if this task does not; none for a body that cannot be read. */
export const idsBehind = (message: WireMessage): readonly string[] => behind(message).ids;

/** The parts of chords that this task is, or that stand at the end of its chain. */
export const partsIn = (message: WireMessage): readonly ChordPart[] => behind(message).parts;

function behind(message: WireMessage): Pick<Unreachable, 'ids' | 'parts'> {
  const nothing = { ids: [], parts: [] };
  if (!mayHaveCanvas(message)) return nothing;
  try {
    const { embed } = decodeTaskBody(message);
    const { id, group, group_index: index } = message.headers;
    const { ids, parts } = unreachable(embed.chain);
    const [groupId, groupIndex] = [typeof group === 'string' ? group : null, typeof index === 'number' ? index : null];
    const own = ownPart(embed, { id: String(id), groupId, groupIndex });
    return { ids, parts: own === null ? parts : [own, ...parts] };
  } catch {
    return nothing;
  }
}
