/**
 * Freezing gives every task of a canvas its id before anything is sent, so that a result can be waited for, and a failure be
 * stored, under an id that everybody knows. Freezing again changes nothing. Pure: ids come from the caller.
 *
 * A group in the middle of a chain becomes a chord here, because what follows needs all its results; so does a group whose end
 * a chord or a callback waits for (`attach`).
 */
import { makeSignature, parseSignatures, type SignatureOptions, type WireSignature } from '../wire/signature.js';
import { isSettlingAll, takesOutcomes, takingOutcomes, withoutMark } from './outcomes.js';
import { chunksAsGroup, kindOf, makeChain, makeChord, makeGroup, partsOf, tasksOf, unfolded, withTasks } from './shapes.js';

export interface FreezeContext {
  /** A new id at each call. */
  newId(): string;
  /** The reply queue of who waits for the results; `null` = none. */
  readonly replyTo: string | null;
}

/** What the last task of a canvas reports to. */
export interface Tail {
  readonly group_id?: string;
  readonly group_index?: number;
  /** The body of the chord that waits for it. */
  readonly chord?: WireSignature;
  readonly link?: readonly WireSignature[];
}

/** @throws WireError `E_DECODE` when a part is no signature */
export function freeze(given: WireSignature, context: FreezeContext): WireSignature {
  const signature = unfolded(given);
  const kind = kindOf(signature);
  if (kind === 'chunks') return freeze(chunksAsGroup(signature), context);
  if (kind === 'task') return withOptions(signature, idsFor(signature.options, context));
  const { link, link_error, ...options } = signature.options;
  const errbacks = parseSignatures(link_error, 'link_error');
  const plain: WireSignature = { ...signature, options };
  const frozen = withErrbacks(kind === 'chain' ? frozenChain(plain, context) : frozenParts(plain, context), errbacks);
  const callbacks = parseSignatures(link, 'link');
  return callbacks.length === 0 ? frozen : attach(frozen, { link: callbacks }, context);
}

function frozenParts(signature: WireSignature, context: FreezeContext): WireSignature {
  if (kindOf(signature) === 'group') {
    const members = tasksOf(signature).map((member) => freeze(member, context));
    return withOptions(withTasks(signature, members), { task_id: signature.options.task_id ?? context.newId() });
  }
  const { header, body } = partsOf(signature);
  const { task_id } = signature.options;
  // its id is that of the header's group
  const group = kindOf(header) === 'group' || kindOf(header) === 'chunks' ? header : makeGroup([header]);
  const named = group.options.task_id === undefined && task_id !== undefined ? withOptions(group, { task_id }) : group;
  const parts = freeze(named, context);
  const last = freeze(body, context);
  // from here on the body says it: whoever opens the chord may be a Python worker, which gives options of the chord to the body
  const chord = makeChord(parts, isSettlingAll(signature) ? takingOutcomes(last) : last);
  return { ...chord, args: signature.args, immutable: signature.immutable };
}

function frozenChain(signature: WireSignature, context: FreezeContext): WireSignature {
  const steps: WireSignature[] = [];
  for (const step of tasksOf(signature)) {
    const frozen = freeze(step, context);
    for (const next of kindOf(frozen) === 'chain' ? spread(frozen) : [frozen]) {
      const before = steps.at(-1);
      if (before !== undefined && kindOf(before) === 'group') steps[steps.length - 1] = joined(before, next);
      else steps.push(next);
    }
  }
  return withTasks(signature, steps);
}

/** The steps of a frozen chain; arguments given to it are those of its first step. */
function spread(chain: WireSignature): WireSignature[] {
  const [first, ...others] = tasksOf(chain);
  if (first === undefined) return [];
  return [chain.immutable || chain.args.length > 0 ? bound(first, chain) : first, ...others];
}

const bound = (first: WireSignature, chain: WireSignature): WireSignature => ({
  ...first,
  args: first.immutable ? first.args : [...chain.args, ...first.args],
  immutable: first.immutable || chain.immutable,
});

/** A frozen group with a task behind it that takes all its results. Arguments of the group go to its members all the same. */
const joined = (group: WireSignature, body: WireSignature): WireSignature => ({
  ...makeChord({ ...group, args: [] }, body),
  args: group.args,
  immutable: group.immutable,
});

/** The same frozen canvas, whose last task reports as the tail says. */
export function attach(signature: WireSignature, tail: Tail, context: FreezeContext): WireSignature {
  switch (kindOf(signature)) {
    case 'chain': {
      const steps = tasksOf(signature);
      const last = steps.pop();
      return last === undefined ? signature : withTasks(signature, [...steps, attach(last, tail, context)]);
    }
    case 'chord': {
      const { header, body } = partsOf(signature);
      const attached = attach(withoutMark(body), tail, context);
      const last = takesOutcomes(body) ? takingOutcomes(attached) : attached;
      return { ...signature, kwargs: { ...signature.kwargs, header, body: last } };
    }
    case 'group': {
      // Nobody waits for all of it: its members belong to their own group.
      if (tail.chord === undefined && tail.link === undefined) return signature;
      const collect = makeSignature('celery.accumulate', { kwargs: { index: 0 } });
      return joined(signature, attach(freeze(collect, context), tail, context));
    }
    default: {
      const { link, ...membership } = tail;
      if (link === undefined) return withOptions(signature, membership as SignatureOptions);
      const callbacks = [...parseSignatures(signature.options.link, 'link'), ...link];
      return withOptions(signature, { ...(membership as SignatureOptions), link: callbacks });
    }
  }
}

/** The same with these errbacks behind each of its tasks; behind a chord's body, which fails when a part of the header does. */
function withErrbacks(signature: WireSignature, errbacks: readonly WireSignature[]): WireSignature {
  if (errbacks.length === 0) return signature;
  switch (kindOf(signature)) {
    case 'chain':
    case 'group':
      return withTasks(
        signature,
        tasksOf(signature).map((task) => withErrbacks(task, errbacks)),
      );
    case 'chord': {
      const { header, body } = partsOf(signature);
      return { ...signature, kwargs: { ...signature.kwargs, header, body: withErrbacks(body, errbacks) } };
    }
    default:
      return withOptions(signature, {
        link_error: [...parseSignatures(signature.options.link_error, 'link_error'), ...errbacks],
      });
  }
}

/** The id under which the result of a frozen canvas is stored; of a group, that of the group. */
export function finalIdOf(given: WireSignature): string {
  const signature = unfolded(given);
  switch (kindOf(signature)) {
    case 'chain': {
      const last = tasksOf(signature).at(-1);
      return last === undefined ? '' : finalIdOf(last);
    }
    case 'chord':
      return finalIdOf(partsOf(signature).body);
    default:
      return signature.options.task_id ?? '';
  }
}

/** A chain of these frozen steps, with groups in its middle made chords. */
export const chainOfFrozen = (steps: readonly WireSignature[], context: FreezeContext): WireSignature => {
  const [only] = steps;
  return steps.length === 1 && only !== undefined ? only : freeze(makeChain(steps), context);
};

const withOptions = (signature: WireSignature, options: SignatureOptions): WireSignature => ({
  ...signature,
  options: { ...signature.options, ...options },
});

function idsFor(options: SignatureOptions, { newId, replyTo }: FreezeContext): SignatureOptions {
  const task_id = options.task_id ?? newId();
  return replyTo === null || options.reply_to !== undefined ? { task_id } : { task_id, reply_to: replyTo };
}

/** Whose results nobody keeps, of those that `resultTreeOf` gives. */
export function unkeptIn(signature: WireSignature): readonly string[] {
  switch (kindOf(signature)) {
    case 'chain': {
      const last = tasksOf(signature).at(-1);
      return last === undefined ? [] : unkeptIn(last);
    }
    case 'chord':
      return unkeptIn(partsOf(signature).body);
    case 'group':
      return tasksOf(signature).flatMap(unkeptIn);
    default:
      return signature.options.ignore_result === true ? [signature.options.task_id ?? ''] : [];
  }
}
