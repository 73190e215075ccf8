/**
 * Chords as a worker sees them: it opens those whose parts it sends, reports the ends of their parts, sends the body with the last one,
 * and ends a chord whose part failed, was revoked, expired, was poison, or never reported by its deadline. The counter is the store's;
 * whatever is done here may be done twice, by a worker that takes over. Next stop: `results/chords.ts`.
 *
 * Bodies and errbacks of a chord are sent with a dedupe key each besides, for the worker that dies after it has sent them.
 */
import { randomUUID } from 'node:crypto';
import type { OutgoingMessage } from '../../../brokers/broker.js';
import { type ChordPart, errbacksOf, firstErrbacks, type Unreachable, unreachable } from '../../../canvas/after.js';
import { finalIdOf } from '../../../canvas/freeze.js';
import { idsFrom } from '../../../canvas/ids.js';
import { outcomeOf, outcomesOf, takesOutcomes } from '../../../canvas/outcomes.js';
import { type CanvasPlan, startBody } from '../../../canvas/plan.js';
import type { Clock } from '../../../core/clock.js';
import { BrokerError, codeOf, toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { LOOK_MS } from '../../../results/chord-deadlines.js';
import {
  type ChordVerdict,
  chordsOf,
  type KeptEnd,
  keptMs,
  opening,
  type UncountedChord,
  verdictOf,
} from '../../../results/chords.js';
import { FINAL_STATES, type ResultStore, type ResultWrite } from '../../../results/result-store.js';
import { exceptionRepr, pythonError } from '../../../wire/exception-info.js';
import { decodeResultMeta } from '../../../wire/result-meta.js';
import { decodeJson, encodeJson } from '../../../wire/serializers/json.js';
import { parseSignature, type WireSignature } from '../../../wire/signature.js';
import type { NewChord } from '../../port.js';
import type { ResultForm } from '../result-write.js';
import { OverdueChords, type OverdueOptions } from './overdue.js';

/** In place of a part: whoever looks for overdue chords carries out what becomes of one. */
const OVERDUE = 'overdue';

/** A part, and how it ended. */
export interface EndedPart extends Omit<ChordPart, 'body'> {
  readonly body: () => WireSignature;
  readonly state: string;
  readonly resultJson: string;
  /** The task whose end this is, or is part of; its workflow's first. */
  readonly parent: { readonly id: string; readonly rootId: string };
}

/** Whose chord ends. */
type EndingPart = Pick<EndedPart, 'groupId' | 'taskId' | 'body' | 'parent'>;

export interface ChordsOptions extends Pick<OverdueOptions, 'broadcast'> {
  readonly store: ResultStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly resultTtlMs: number | null;
  readonly results: ResultForm;
  /** Turns a plan into messages. */
  readonly messagesOf: (plan: CanvasPlan, parent: EndedPart['parent'] | null, isRepeated: boolean) => OutgoingMessage[];
  /** Sends for as long as it takes; resolves with why one never will be, in order. */
  readonly send: (messages: readonly OutgoingMessage[]) => Promise<readonly (Error | null)[]>;
  /** Asks the store for as long as it takes. */
  readonly ask: <T>(step: () => Promise<T>) => Promise<T>;
  /** Stores for as long as it takes. */
  readonly write: (writes: readonly ResultWrite[]) => Promise<unknown>;
}

export class Chords {
  readonly #options: ChordsOptions;
  readonly #keptMs: number;
  /** Looks for those that will never end by themselves. */
  readonly overdue: OverdueChords;

  constructor(options: ChordsOptions) {
    this.#options = options;
    this.overdue = new OverdueChords({ ...options, endOne: (groupId, body) => this.#endOne(groupId, body) });
    this.#keptMs = keptMs(options.resultTtlMs);
  }

  /** Before their parts are sent. Resolves with why they cannot be counted, or `null`. */
  async open(chords: readonly NewChord[]): Promise<Error | null> {
    const { store, clock, ask } = this.#options;
    if (chords.length === 0) return null;
    const { resultTtlMs } = this.#options;
    try {
      const counter = chordsOf(store);
      const opened = chords.map((chord) => opening(chord, resultTtlMs, clock.nowMs()));
      await ask(() => counter.open(opened));
      this.overdue.opened(opened);
      return null;
    } catch (error) {
      if (codeOf(error) === 'E_CHORD_NEEDS_STORE') return toError(error);
      throw error;
    }
  }

  /** Reports parts, and does what follows, however far it reaches: the failed body of one chord may be a part of another. */
  async report(parts: readonly EndedPart[]): Promise<void> {
    const failed: string[] = [];
    for (let left = parts; left.length > 0; ) {
      const verdicts = await this.#verdicts(left);
      const next: EndedPart[] = [];
      for (const [index, part] of left.entries()) {
        const outer = await this.#carryOut(part, verdicts[index] as ChordVerdict);
        if (outer === null) continue;
        next.push(...outer);
        failed.push(part.groupId);
      }
      left = next;
    }
    // only now, or a worker that dies before the outer ones are told leaves them waiting
    for (const groupId of failed) await this.#close(groupId);
  }

  /** One part more, counted before it is sent. @throws BrokerError `E_NOT_SUPPORTED` */
  async addPart(groupId: string, taskId: string, chords: readonly NewChord[]): Promise<void> {
    const { store, ask } = this.#options;
    const add = chordsOf(store).add?.bind(store.chords);
    if (!add) throw new BrokerError('E_NOT_SUPPORTED', `the result store ${store.name} takes no parts that come later`);
    await ask(() => add(groupId, taskId, this.#keptMs));
    await this.open(chords);
  }

  /** Ends a chord whose parts somebody else has looked for. */
  async endUncounted({ groupId, body: text, ends, parent }: UncountedChord): Promise<void> {
    const body = parseSignature(decodeJson(text), 'the body of a chord');
    const part: EndingPart = { groupId, taskId: parent.id, body: () => body, parent };
    const claim = await this.#claim(part);
    if (claim === 'taken') return;
    const verdict: ChordVerdict | null = ends && verdictOf(ends);
    const outer =
      verdict?.kind === 'complete'
        ? await this.#begin(part, decoded(verdict.results), claim === 'again')
        : await this.#fail(part, verdict?.kind === 'failed' ? raisedBy(verdict.part) : deadlineError());
    if (outer !== null) await this.report(outer);
    await this.#close(groupId);
  }

  /** Resolves with `false` when another worker is about it. */
  async #endOne(groupId: string, body: WireSignature): Promise<boolean> {
    const { store, logger } = this.#options;
    const id = finalIdOf(body);
    // one worker at a time; whoever dies over it leaves it to the next look of another
    const claim = { key: `chord-overdue:${groupId}`, expected: null, value: randomUUID(), ttlMs: LOOK_MS / 2 };
    if (store.swapSendKey && (await store.swapSendKey(claim)) !== null) return false;
    const part: EndingPart = { groupId, taskId: OVERDUE, body: () => body, parent: { id, rootId: id } };
    // what is final was carried out, or the body was revoked; unless whoever began here died behind the result and before the errbacks
    if ((await this.#claim(part)) !== 'again') {
      const [meta] = await store.get([id]);
      if (meta != null && FINAL_STATES.has(decodeResultMeta(meta).status)) {
        await this.#close(groupId);
        return true;
      }
    }
    logger.warn({ group: groupId, id }, 'a chord has not ended by its deadline');
    const state = takesOutcomes(body) ? ((await store.chords?.state?.(groupId)) ?? null) : null;
    if (state !== null) {
      const outer = await this.#begin(part, outcomesOf(state), true);
      if (outer !== null) await this.report(outer);
    } else {
      await this.report(await this.#fail(part, deadlineError()));
    }
    await this.#close(groupId);
    return true;
  }

  async #verdicts(parts: readonly EndedPart[]): Promise<readonly ChordVerdict[]> {
    const { store, ask } = this.#options;
    const { chords } = store;
    if (chords) {
      const ends = parts.map((part) => ({
        ...part,
        ttlMs: this.#keptMs,
        settlesAll: part.state !== 'SUCCESS' && settlesAll(part),
      }));
      return ask(() => chords.report(ends));
    }
    const resultJson = pythonError('ChordError', [String(store.capabilities.chords)], 'celery.exceptions');
    return parts.map(({ taskId }) => ({ kind: 'failed', part: { taskId, state: 'FAILURE', resultJson } }));
  }

  /** What a failed chord was a part of; `null` when it goes on, or somebody else sees to it. */
  async #carryOut(part: EndedPart, verdict: ChordVerdict): Promise<EndedPart[] | null> {
    if (verdict.kind === 'open') {
      if (verdict.isUnkept) await this.#adopt(part);
      return null;
    }
    const claim = await this.#claim(part);
    if (claim === 'taken') return null;
    switch (verdict.kind) {
      case 'complete':
        return this.#begin(part, settlesAll(part) ? fulfilled(verdict.results) : decoded(verdict.results), claim === 'again');
      case 'failed': {
        if (verdict.all && settlesAll(part)) return this.#begin(part, verdict.all.map(outcomeOf), claim === 'again');
        return this.#fail(part, raisedBy(verdict.part));
      }
    }
  }

  /**
   * Two parts may learn at once that their chord is complete or failed. The one that comes first carries it out, and its own next
   * delivery goes on with it if its worker dies: nothing else can know how far that had come.
   */
  async #claim({ groupId, taskId }: EndingPart): Promise<'first' | 'again' | 'taken'> {
    const { store, ask } = this.#options;
    if (!store.swapSendKey) return 'first';
    const change = { key: `chord-end:${groupId}`, expected: null, value: taskId, ttlMs: this.#keptMs };
    const holder = await ask(async () => store.swapSendKey?.(change) ?? null);
    if (holder === null) return 'first';
    return holder === taskId ? 'again' : 'taken';
  }

  /** Sends the body with the results of the header. */
  async #begin(part: EndingPart, results: readonly unknown[], isRepeated: boolean): Promise<EndedPart[] | null> {
    const { messagesOf, logger } = this.#options;
    const { groupId, body, parent } = part;
    let refusal: Error | null;
    try {
      const context = { newId: idsFrom(groupId, 'body'), replyTo: null };
      const plan = startBody(body(), results, context);
      const chords = plan.chords.map(({ body: inner, ...chord }) => ({ ...chord, body: encodeJson(inner) }));
      refusal = (await this.open(chords)) ?? (await this.#sendAll(messagesOf(plan, parent, isRepeated), `chord:${groupId}`));
    } catch (error) {
      if (isStopping(error)) throw error;
      refusal = toError(error);
    }
    if (refusal !== null) {
      logger.error({ group: groupId, error: refusal.message }, 'the body of a chord cannot be sent: it fails');
      return this.#fail(part, pythonError('ChordError', [`the body could not be sent: ${refusal.message}`], 'celery.exceptions'));
    }
    await this.#close(groupId);
    return null;
  }

  /** Ends the body and all behind it, calls its errbacks, and tells the chords that it was a part of. */
  async #fail({ groupId, body: read, parent }: EndingPart, exceptionJson: string): Promise<EndedPart[]> {
    const { results, write, messagesOf, logger } = this.#options;
    let body: WireSignature;
    let behind: Unreachable;
    try {
      body = read();
      behind = unreachable([body]);
    } catch (error) {
      // nobody could: it is closed, and its part is settled
      logger.error({ group: groupId, error: toError(error).message }, 'the body of a chord cannot be read');
      return [];
    }
    const { ids, tasks, parts } = behind;
    const id = finalIdOf(body);
    const end = { state: 'FAILURE', exceptionJson, traceback: null } as const;
    const replyTo = body.options.reply_to ?? null;
    await write(tasks.map((task, index) => results.ofUnsent(ids[index] as string, task, replyTo, end)));
    const first = ids.includes(id) ? id : (ids[0] ?? id);
    let errbacks: OutgoingMessage[] = [];
    try {
      const context = { newId: idsFrom(groupId, 'failure'), replyTo: null };
      errbacks = firstErrbacks(body, first).flatMap(({ failedId, errbacks: own }) =>
        messagesOf(errbacksOf(own, failedId, context), { id: failedId, rootId: parent.rootId }, false),
      );
    } catch (error) {
      logger.error({ group: groupId, error: toError(error).message }, 'the errbacks of a chord cannot be sent');
    }
    await this.#sendAll(errbacks, `chord:${groupId}:failed`);
    return parts.map(({ body: outer, ...part }) => ({
      ...{ ...part, parent, state: 'FAILURE', resultJson: exceptionJson, body: () => outer },
    }));
  }

  /** Python's clients note no deadline, and a revoke by ours has to find the body: from now on both are known. */
  async #adopt({ groupId, body: read }: EndedPart): Promise<void> {
    const { store, clock, resultTtlMs, logger, ask } = this.#options;
    try {
      const { deadlineMs, ttlMs, body } = opening({ groupId, size: 0, body: encodeJson(read()) }, resultTtlMs, clock.nowMs());
      await ask(async () => store.chords?.adopt?.([{ groupId, body, deadlineMs, ttlMs }]));
      this.overdue.opened([{ deadlineMs }]);
    } catch (error) {
      if (isStopping(error)) throw error;
      logger.warn({ group: groupId, error: toError(error).message }, 'the body of a chord cannot be read: it has no deadline');
    }
  }

  async #close(groupId: string): Promise<void> {
    const { store, ask } = this.#options;
    await ask(async () => store.chords?.close([groupId]));
  }

  /** Each once, under a key of its own. Resolves with why one never will be sent. */
  async #sendAll(messages: readonly OutgoingMessage[], key: string): Promise<Error | null> {
    const ttlMs = this.#keptMs;
    const keyed = messages.map((message, index) => ({ ...message, dedupe: { key: `${key}:${index}`, ttlMs } }));
    return (await this.#options.send(keyed)).find((refusal) => refusal !== null) ?? null;
  }
}

/** A body that cannot be read settles nothing. */
function settlesAll({ body }: Pick<EndedPart, 'body'>): boolean {
  try {
    return takesOutcomes(body());
  } catch {
    return false;
  }
}

const decoded = (results: readonly string[]): unknown[] => results.map((text) => decodeJson(text));
const fulfilled = (results: readonly string[]): unknown[] => decoded(results).map((value) => ({ status: 'fulfilled', value }));

const raisedBy = ({ taskId, resultJson }: KeptEnd): string =>
  pythonError('ChordError', [`Dependency ${taskId} raised ${exceptionRepr(decodeJson(resultJson))}`], 'celery.exceptions');
const deadlineError = (): string =>
  pythonError(
    'ChordError',
    ['deadline: not all parts of the header have succeeded in time, or one was revoked'],
    'celery.exceptions',
  );

const isStopping = (error: unknown): boolean => codeOf(error) === 'E_CLOSED';
