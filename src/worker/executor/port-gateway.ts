/** The gateway inside an executor: each call becomes a message to the engine, which holds the connections. */
import type { ControlAnswers } from '../../app/control/control-types.js';
import type { ControlQuestion, Gateway } from '../../app/gateway.js';
import type { StepPlace } from '../../app/task-steps.js';
import type { Broadcast, OutgoingMessage, PublishOptions, PublishResult } from '../../brokers/broker.js';
import type { ErrorCode } from '../../core/error-codes.js';
import { BrokerError, DuplicateSendError, LovageError, PublishError } from '../../core/errors.js';
import type { HopelessPart, OpenChord, UncountedChord } from '../../results/chords.js';
import type { ResultWrite } from '../../results/result-store.js';
import type { SavedCall } from '../../results/saved-results.js';
import type { StepAnswer } from '../../results/steps.js';
import type { WireMessage } from '../../wire/message.js';
import type { EngineCall, ExecutorEnd, NewChord, PortError, ToExecutor } from '../port.js';

interface PendingCall {
  resolve(value: unknown): void;
  reject(error: Error): void;
  onUpdate?: ((meta: string) => void) | undefined;
}

function fromPortError(error: PortError): LovageError {
  const code = error.code as ErrorCode;
  if (error.existingId !== undefined)
    return new DuplicateSendError(error.message, { existingId: error.existingId, taskId: error.taskId });
  return error.outcome
    ? new PublishError(code, error.message, { outcome: error.outcome, taskId: error.taskId })
    : new LovageError(code, error.message);
}

export class PortGateway implements Gateway {
  readonly #end: ExecutorEnd;
  /** One entry a call under way; each is answered, or refused on close. */
  readonly #pending = new Map<number, PendingCall>();
  #nextCall = 1;

  constructor(end: ExecutorEnd) {
    this.#end = end;
  }

  /** An answer, refusal or update from the engine. */
  hear(message: Extract<ToExecutor, { type: 'answer' | 'refusal' | 'update' }>): void {
    const pending = this.#pending.get(message.call);
    if (!pending) return;
    if (message.type === 'update') {
      pending.onUpdate?.(message.meta);
      return;
    }
    this.#pending.delete(message.call);
    if (message.type === 'answer') pending.resolve(message.value);
    else pending.reject(fromPortError(message.error));
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const results = (await this.#call(
      { method: 'publish', messages, options: { timeoutMs: options.timeoutMs } },
      options.signal,
    )) as readonly (PortError | null)[];
    return results.map((error) => (error === null ? null : (fromPortError(error) as PublishError)));
  }

  prepareResults(): Promise<string | null> {
    return this.#call({ method: 'prepareResults' }) as Promise<string | null>;
  }

  getResults(ids: readonly string[]): Promise<readonly (string | null)[]> {
    return this.#call({ method: 'getResults', ids }) as Promise<readonly (string | null)[]>;
  }

  waitResult(id: string, signal: AbortSignal, onUpdate?: (meta: string) => void): Promise<string> {
    return this.#call({ method: 'waitResult', id }, signal, onUpdate) as Promise<string>;
  }

  async forgetResults(ids: readonly string[]): Promise<void> {
    await this.#call({ method: 'forgetResults', ids });
  }

  savedResults(saved: SavedCall): Promise<readonly (string | null)[]> {
    return this.#call({ method: 'savedResults', saved }) as Promise<readonly (string | null)[]>;
  }

  async openChords(chords: readonly OpenChord[]): Promise<void> {
    await this.#call({ method: 'openChords', chords });
  }

  async giveUpParts(parts: readonly HopelessPart[], resultTtlMs: number | null): Promise<void> {
    await this.#call({ method: 'giveUpParts', parts, resultTtlMs });
  }

  async storeResults(writes: readonly ResultWrite[]): Promise<void> {
    await this.#call({ method: 'storeResults', writes });
  }

  /** Finished steps of the task that this run is a try of. */
  stepsOf(run: number): StepPlace {
    return {
      read: (name) => this.#call({ method: 'getStep', run, name }) as Promise<string | null>,
      write: (name, resultJson) => this.#call({ method: 'putStep', run, name, resultJson }) as Promise<StepAnswer>,
    };
  }

  /** @throws BrokerError `E_NOT_SUPPORTED` where parts cannot be added */
  async addPart(groupId: string, taskId: string, chords: readonly NewChord[]): Promise<void> {
    await this.#call({ method: 'addPart', groupId, taskId, chords });
  }

  async endChord(chord: UncountedChord): Promise<void> {
    await this.#call({ method: 'endChord', chord });
  }

  async withdraw(ids: readonly string[]): Promise<ReadonlyMap<string, WireMessage>> {
    return new Map((await this.#call({ method: 'withdraw', ids })) as [string, WireMessage][]);
  }

  recordRevoked(ids: readonly string[], ttlMs: number): Promise<readonly boolean[]> {
    return this.#call({ method: 'recordRevoked', ids, ttlMs }) as Promise<readonly boolean[]>;
  }

  async broadcast(broadcast: Broadcast): Promise<void> {
    await this.#call({ method: 'broadcast', broadcast });
  }

  async broker(): Promise<never> {
    throw new BrokerError(
      'E_NOT_SUPPORTED',
      'inside a task the app has no connection of its own (its worker has): do this in another process',
    );
  }

  ask(question: ControlQuestion, signal?: AbortSignal): Promise<ControlAnswers> {
    return this.#call({ method: 'ask', question }, signal) as Promise<ControlAnswers>;
  }

  tell(question: ControlQuestion): Promise<number | null> {
    return this.#call({ method: 'tell', question }) as Promise<number | null>;
  }

  async close(): Promise<void> {
    for (const pending of this.#pending.values()) pending.reject(new BrokerError('E_CLOSED', 'the worker is stopping'));
    this.#pending.clear();
  }

  #call(request: EngineCall, signal?: AbortSignal, onUpdate?: (meta: string) => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const call = this.#nextCall++;
      const onAbort = (): void => {
        this.#pending.delete(call);
        this.#end.post({ type: 'cancel-call', call });
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const done = (): void => signal?.removeEventListener('abort', onAbort);
      this.#pending.set(call, {
        resolve: (value) => {
          done();
          resolve(value);
        },
        reject: (error) => {
          done();
          reject(error);
        },
        onUpdate,
      });
      this.#end.post({ type: 'call', call, request });
    });
  }
}
