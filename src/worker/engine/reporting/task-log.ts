/**
 * What the log says of tasks: one line an event, with id and name in each. Successes are told one by one up to a rate
 * and summed up each second beyond it: at thousands a second the lines would cost more than the tasks.
 */
import type { Delivery } from '../../../brokers/broker.js';
import type { Clock } from '../../../core/clock.js';
import type { Logger } from '../../../core/logger.js';
import type { TaskHeaders } from '../../../wire/task-message.js';
import type { Outcome } from '../../port.js';
import type { ActiveRun } from '../state.js';
import { DeadLetterPile } from './dead-letter-pile.js';

/** Single success lines a second, before they are summed up. */
const LINES_PER_SECOND = 20;

export class TaskLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #pile: DeadLetterPile;
  #windowEndMs = 0;
  #linesLeft = LINES_PER_SECOND;
  #summed = 0;
  #cancelSummary: (() => void) | null = null;

  /** @param countDead how many dead letters the broker has */
  constructor(logger: Logger, clock: Clock, countDead: () => Promise<number>) {
    this.#logger = logger;
    this.#clock = clock;
    this.#pile = new DeadLetterPile(countDead, logger);
  }

  succeeded(run: ActiveRun, runtimeMs: number): void {
    if (this.#linesLeft === 0) {
      this.#summed += 1;
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#windowEndMs) {
      this.#windowEndMs = nowMs + 1_000;
      this.#linesLeft = LINES_PER_SECOND;
    }
    this.#linesLeft -= 1;
    if (this.#linesLeft === 0) this.#cancelSummary = this.#clock.after(this.#windowEndMs - nowMs, () => this.flush());
    this.#logger.info(this.#fields(run, runtimeMs), 'task succeeded');
  }

  failed(run: ActiveRun, outcome: Extract<Outcome, { kind: 'failure' }>): void {
    const fields = { ...this.#fields(run, outcome.runtimeMs), error: shortError(outcome.exceptionJson) };
    if (outcome.expected) this.#logger.warn(fields, 'task failed, as its definition expects');
    else this.#logger.error({ ...fields, traceback: outcome.traceback }, 'task failed');
  }

  retried(run: ActiveRun, outcome: Extract<Outcome, { kind: 'retry' }>): void {
    const error = outcome.exceptionJson === null ? null : shortError(outcome.exceptionJson);
    this.#logger.warn({ ...this.#fields(run, outcome.runtimeMs), delayMs: outcome.delayMs, error }, 'task will be tried again');
  }

  terminated(run: ActiveRun, { abandoned, runtimeMs }: Extract<Outcome, { kind: 'revoked' }>): void {
    const what = abandoned ? 'task revoked while it ran; its code goes on and counts for nothing' : 'task revoked while it ran';
    this.#logger.warn(this.#fields(run, runtimeMs), what);
  }

  /** For who follows a task through the deaths of its workers. */
  again({ message, queue, losses }: Delivery): void {
    this.#logger.debug({ id: message.headers['id'], queue, losses }, 'delivered again');
  }

  parked(queue: string, headers: TaskHeaders | null, code: string, reason: string): void {
    this.#logger.error({ queue, id: headers?.id ?? null, task: headers?.task ?? null, code, reason }, 'message parked');
    this.#pile.grows();
  }

  refused(run: ActiveRun): void {
    this.#logger.warn(this.#fields(run, null), 'outcome refused: this worker had lost the lease, the task runs or ran elsewhere');
  }

  /** Writes the pending sum. */
  flush(): void {
    this.#cancelSummary?.();
    this.#cancelSummary = null;
    this.#linesLeft = LINES_PER_SECOND;
    if (this.#summed > 0) this.#logger.info({ count: this.#summed }, 'more tasks succeeded in the last second');
    this.#summed = 0;
  }

  #fields(run: ActiveRun, runtimeMs: number | null): object {
    const { id, task, retries } = run.headers;
    return {
      id,
      task,
      queue: run.delivery.queue,
      attempt: retries + 1,
      ...(runtimeMs === null ? {} : { runtimeMs: Math.round(runtimeMs * 100) / 100 }),
    };
  }
}

/** `ValueError: boom` of an encoded exception, cut to a line. */
function shortError(exceptionJson: string): string {
  const { exc_type, exc_message } = JSON.parse(exceptionJson) as { exc_type?: string; exc_message?: unknown };
  const message = Array.isArray(exc_message) ? exc_message.map(String).join(', ') : String(exc_message ?? '');
  return `${exc_type ?? 'Error'}: ${message}`.slice(0, 300);
}
