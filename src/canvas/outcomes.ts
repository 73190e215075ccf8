/**
 * Chords that go on with whatever their parts came to (`settle: 'all'`): the body gets an outcome for each part, in the shape of
 * `Promise.allSettled`. Pure. Celery has no word for it, so it travels as a mark: an option of the chord's signature, and from the
 * moment when that is sent, wherever in a workflow, a header in the options of the body, which Celery's workers carry along.
 */
import { decodeException } from '../wire/exception-info.js';
import { OUTCOMES_HEADER } from '../wire/own-headers.js';
import { decodeJson } from '../wire/serializers/json.js';
import type { WireSignature } from '../wire/signature.js';
import { kindOf, tasksOf } from './shapes.js';

/** What a part that did not succeed came to. */
export interface PartFailure {
  /** Id of the part; '' of one that never reported. */
  readonly taskId: string;
  /** FAILURE, REVOKED, or PENDING for one that had not ended by the deadline. */
  readonly state: string;
  /** Name of the error class, for example `ValueError` or `TaskRevokedError`. */
  readonly type: string;
  readonly message: string;
}

/** What a part of a chord with `settle: 'all'` came to. */
export type Outcome<T> =
  | { readonly status: 'fulfilled'; readonly value: T }
  | { readonly status: 'rejected'; readonly reason: PartFailure };

/** Of a list of results, the list of outcomes. */
export type Outcomes<T extends readonly unknown[]> = { -readonly [K in keyof T]: Outcome<T[K]> };

/** How a part ended, as a store keeps it. */
export interface EndOfPart {
  readonly taskId: string;
  readonly state: string;
  readonly resultJson: string;
}

const SETTLE_OPTION = 'lovage_settle';

/** The chord with the mark that its body gets outcomes. */
export const settlingAll = (chord: WireSignature): WireSignature => ({
  ...chord,
  options: { ...chord.options, [SETTLE_OPTION]: 'all' },
});

export const isSettlingAll = ({ options }: WireSignature): boolean => options[SETTLE_OPTION] === 'all';

/** The body of a chord that settles all, as its parts carry it. */
export const takingOutcomes = (body: WireSignature): WireSignature => ({
  ...body,
  options: { ...body.options, headers: { ...body.options.headers, [OUTCOMES_HEADER]: takesResults(body) ? BARE : 'none' } },
});

/** To whoever runs the body: the results are bare, unless this mark is gone. */
export const BARE = 'bare';

function takesResults(body: WireSignature): boolean {
  const [first] = kindOf(body) === 'chain' ? tasksOf(body) : [];
  return !(first ?? body).immutable;
}

/** Whether a chord with this body goes on though parts failed. */
export const takesOutcomes = ({ options }: WireSignature): boolean => options.headers?.[OUTCOMES_HEADER] !== undefined;

/** Without the mark: what is sent with it gets its arguments wrapped by whoever runs it, because a Python worker sent bare results. */
export function withoutMark(body: WireSignature): WireSignature {
  if (!takesOutcomes(body)) return body;
  const { [OUTCOMES_HEADER]: _mark, ...headers } = body.options.headers ?? {};
  const { headers: _headers, ...options } = body.options;
  return { ...body, options: Object.keys(headers).length === 0 ? options : { ...options, headers } };
}

/** Of all parts of a chord that has not heard of some. */
export function outcomesOf({
  size,
  ends,
}: {
  readonly size: number;
  readonly ends: readonly (EndOfPart & { index: number | null })[];
}) {
  const outcomes: Outcome<unknown>[] = Array.from({ length: size }, () => NEVER_REPORTED);
  for (const [at, end] of ends.entries()) outcomes[end.index ?? at] = outcomeOf(end);
  return outcomes;
}

export function outcomeOf({ taskId, state, resultJson }: EndOfPart): Outcome<unknown> {
  const result = decodeJson(resultJson);
  if (state === 'SUCCESS') return { status: 'fulfilled', value: result };
  const { type, message } = decodeException(result);
  return { status: 'rejected', reason: { taskId, state, type, message } };
}

/** Of a part that never reported. */
const NEVER_REPORTED: Outcome<unknown> = Object.freeze({
  status: 'rejected',
  reason: { taskId: '', state: 'PENDING', type: 'ChordError', message: 'deadline: this part had not ended in time' },
});

/** A Python worker counted the last part: it sends the body only if all succeeded, with their bare results. */
export const wrapped = (results: unknown): unknown =>
  Array.isArray(results) ? results.map((value): Outcome<unknown> => ({ status: 'fulfilled', value })) : results;
