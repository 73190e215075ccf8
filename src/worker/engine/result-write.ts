/**
 * Results as a store takes them, made of a task's headers and what became of it. Pure but for the clock. Next stop:
 * `results/result-store.ts`.
 *
 * Where the app asks for it (`extendedResults`) they say of the call itself what Celery's `result_extended` says. The engine decodes
 * bodies for that, which it does for nothing else that succeeds: that is what the option costs.
 */
import type { Clock } from '../../core/clock.js';
import type { ResultWrite } from '../../results/result-store.js';
import { type ExtendedMeta, encodeResultMeta, type ResultChild } from '../../wire/result-meta.js';
import type { WireSignature } from '../../wire/signature.js';
import { decodeTaskBody } from '../../wire/task-body.js';
import type { TaskHeaders } from '../../wire/task-message.js';
import type { ActiveRun } from './state.js';

export interface ResultFormOptions {
  readonly clock: Clock;
  /** How long results are kept whose task says nothing; `null` for ever. */
  readonly resultTtlMs: number | null;
  /** Whether they say of the call itself too. */
  readonly extendedResults: boolean;
  readonly nodeName: string;
}

/** What became of a task, or what it says on its way. */
interface Outcoming {
  readonly state: string;
  readonly resultJson: string;
  readonly traceback: string | null;
  /** What it sent. */
  readonly children: readonly ResultChild[];
  readonly epoch: number;
  readonly ttlMs: number | null;
  readonly extended: ExtendedMeta | null;
}

/** Whose result it is, and who waits for it. */
type Place = Pick<TaskHeaders, 'id' | 'groupId' | 'parentId' | 'replyTo' | 'correlationId'>;

/** How a task ended that did not run, or not here. */
export interface UnrunEnd {
  readonly state: 'FAILURE' | 'REVOKED';
  readonly exceptionJson: string;
  readonly traceback: string | null;
}

export class ResultForm {
  readonly #options: ResultFormOptions;

  constructor(options: ResultFormOptions) {
    this.#options = options;
  }

  ofRun(
    run: ActiveRun,
    state: string,
    resultJson: string,
    traceback: string | null = null,
    children: readonly ResultChild[] = [],
  ): ResultWrite {
    const { headers, epoch, delivery, facts } = run;
    const extended = this.#extendedOf(run, delivery.queue);
    return this.#write(headers, { state, resultJson, traceback, children, epoch, ttlMs: facts.resultTtlMs, extended });
  }

  /** Of a message without a run. @param queue where it came from; `null`: it is not known any more */
  ofMessage(task: Pick<ActiveRun, 'headers' | 'message'>, queue: string | null, end: UnrunEnd, epoch = 0): ResultWrite {
    return this.#write(task.headers, { ...this.#unrun(end), epoch, extended: this.#extendedOf(task, queue) });
  }

  /** Of a task that no worker ever gets, because one before it did not succeed. */
  ofUnsent(id: string, { task: name, args, kwargs }: WireSignature, replyTo: string | null, end: UnrunEnd): ResultWrite {
    const unsent = { name, args, kwargs, worker: null, retries: 0, queue: null };
    const extended = this.#options.extendedResults ? unsent : null;
    const place = { id, correlationId: id, parentId: null, groupId: null, replyTo };
    return this.#write(place, { ...this.#unrun(end), extended });
  }

  #unrun({ exceptionJson, ...end }: UnrunEnd): Omit<Outcoming, 'extended'> {
    return { ...end, resultJson: exceptionJson, children: [], epoch: 0, ttlMs: this.#options.resultTtlMs };
  }

  #extendedOf({ headers, message }: Pick<ActiveRun, 'headers' | 'message'>, queue: string | null): ExtendedMeta | null {
    const { extendedResults, nodeName } = this.#options;
    if (!extendedResults) return null;
    let call: Pick<ExtendedMeta, 'args' | 'kwargs'> = { args: null, kwargs: null };
    try {
      const { args, kwargs } = decodeTaskBody(message);
      call = { args, kwargs };
    } catch {
      // what nobody can read is parked with its bytes; its result says the rest
    }
    return { name: headers.task, ...call, worker: nodeName, retries: headers.retries, queue };
  }

  #write(headers: Place, { epoch, ttlMs, ...outcoming }: Outcoming): ResultWrite {
    const { state, ...told } = outcoming;
    const final = state === 'SUCCESS' || state === 'FAILURE' || state === 'REVOKED';
    const meta = encodeResultMeta({
      ...told,
      status: state,
      dateDone: final ? this.#options.clock.nowMs() : null,
      taskId: headers.id,
      groupId: headers.groupId,
      parentId: headers.parentId,
    });
    return { id: headers.id, state, meta, epoch, ttlMs, replyTo: headers.replyTo, correlationId: headers.correlationId };
  }
}
