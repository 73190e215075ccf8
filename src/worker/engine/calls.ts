/**
 * What user code in an executor asks of the engine: sending tasks, reading and awaiting results, remote control. The executor holds no
 * connection, so its gateway (`executor/port-gateway.ts`) puts the call on the port and it is answered here.
 */
import type { Broker } from '../../brokers/broker.js';
import { publishOnce } from '../../brokers/send-once.js';
import { type Asker, Turns, tell } from '../../control/ask.js';
import { KnownNodes } from '../../control/known-nodes.js';
import type { LamportClock } from '../../control/lamport-clock.js';
import { askAll } from '../../control/pages.js';
import { codeOf, DuplicateSendError, PublishError, toError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { chordsOf, giveUp } from '../../results/chords.js';
import type { ResultStore } from '../../results/result-store.js';
import { answerSavedCall } from '../../results/saved-results.js';
import type { EngineCall, PortError, ToExecutor } from '../port.js';
import type { Chords } from './following/chords.js';
import { Steps, type StepsOptions } from './steps.js';

/** An error in the form that crosses a port. */
export function toPortError(error: unknown): PortError {
  const known = toError(error);
  const base = { code: codeOf(error) ?? 'E_INTERNAL', message: known.message };
  if (error instanceof DuplicateSendError)
    return { ...base, outcome: error.outcome, ...(error.taskId ? { taskId: error.taskId } : {}), existingId: error.existingId };
  return error instanceof PublishError
    ? { ...base, outcome: error.outcome, ...(error.taskId ? { taskId: error.taskId } : {}) }
    : base;
}

export class Calls {
  readonly #broker: Broker;
  readonly #store: ResultStore;
  readonly #chords: Chords;
  readonly #steps: Steps;
  readonly #asker: Asker;
  /** Waits that can be cancelled, by executor and call; an entry lives until its answer. */
  readonly #waits = new Map<string, AbortController>();

  constructor(
    broker: Broker,
    store: ResultStore,
    node: { readonly lamport: LamportClock; readonly logger: Logger; readonly chords: Chords } & Omit<StepsOptions, 'store'>,
  ) {
    this.#broker = broker;
    this.#store = store;
    this.#chords = node.chords;
    this.#steps = new Steps({ ...node, store });
    // Plain JSON is what every worker reads, those of Celery 5.2 too.
    this.#asker = {
      broker,
      clock: node.lamport,
      logger: node.logger,
      known: new KnownNodes(),
      turns: new Turns(),
      json: 'plain',
    };
  }

  /** Answers one call; `post` reaches the executor that asked. */
  async answer(executor: number, call: number, request: EngineCall, post: (message: ToExecutor) => void): Promise<void> {
    try {
      const value = await this.#carryOut(executor, call, request, post);
      post({ type: 'answer', call, value });
    } catch (error) {
      post({ type: 'refusal', call, error: toPortError(error) });
    }
  }

  cancel(executor: number, call: number): void {
    this.#waits.get(`${executor}:${call}`)?.abort(new Error('the call was cancelled'));
  }

  /** Ends every wait; the engine is stopping. */
  close(): void {
    for (const controller of this.#waits.values()) controller.abort(new Error('the worker is stopping'));
  }

  async #carryOut(executor: number, call: number, request: EngineCall, post: (message: ToExecutor) => void): Promise<unknown> {
    const key = `${executor}:${call}`;
    switch (request.method) {
      case 'publish': {
        const results = await publishOnce(this.#broker, async () => this.#store, request.messages, request.options);
        return results.map((error) => (error === null ? null : toPortError(error)));
      }
      case 'broadcast':
        return this.#broker.broadcast(request.broadcast);
      case 'prepareResults':
        return this.#store.prepare();
      case 'getResults':
        return this.#store.get(request.ids);
      case 'forgetResults':
        return this.#store.forget(request.ids);
      case 'storeResults':
        return void (await this.#store.set(request.writes));
      case 'savedResults':
        return answerSavedCall(this.#store, request.saved);
      case 'openChords':
        await chordsOf(this.#store).open(request.chords);
        return this.#chords.overdue.opened(request.chords);
      case 'giveUpParts':
        await giveUp(this.#store, request.parts, request.resultTtlMs, Date.now());
        return this.#chords.overdue.opened([{ deadlineMs: Date.now() }]);
      case 'withdraw':
        return [...(await this.#broker.revocations.withdraw(request.ids))];
      case 'recordRevoked': {
        const kept = this.#broker.revocations.records ?? this.#store.revocations;
        return kept ? kept.add(request.ids, request.ttlMs) : request.ids.map(() => false);
      }
      case 'addPart':
        return this.#chords.addPart(request.groupId, request.taskId, request.chords);
      case 'endChord':
        return this.#chords.endUncounted(request.chord);
      case 'getStep':
        return this.#steps.get(executor, request);
      case 'putStep':
        return this.#steps.put(executor, request);
      case 'waitResult':
        return this.#cancellable(key, (signal) =>
          this.#store.wait(request.id, { signal }, (meta) => post({ type: 'update', call, meta })),
        );
      case 'ask':
        return this.#cancellable(key, (signal) => askAll(this.#asker, request.question, { signal }));
      case 'tell':
        return tell(this.#asker, request.question);
    }
  }

  async #cancellable<T>(key: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    this.#waits.set(key, controller);
    try {
      return await work(controller.signal);
    } finally {
      this.#waits.delete(key);
    }
  }
}
