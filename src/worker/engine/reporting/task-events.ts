/**
 * What becomes of tasks, as Celery's events (wire section 9). Owns their fields; when they are sent, and whether, is
 * `events/dispatcher.ts`. A caller asks `on` first: while nobody listens, no event is made.
 */
import type { EventDispatcher } from '../../../events/dispatcher.js';
import type { WireEvent } from '../../../wire/event-message.js';
import { COMMON_EVENT_FIELDS } from '../../../wire/event-types.js';
import { exceptionRepr } from '../../../wire/exception-info.js';
import { clip, pythonRepr, REPR_LIMIT } from '../../../wire/python-repr.js';
import { decodeJson } from '../../../wire/serializers/json.js';
import type { TaskHeaders } from '../../../wire/task-message.js';
import type { Outcome } from '../../port.js';
import type { ActiveRun } from '../state.js';

/** Longer results are shown as the beginning of their JSON: reading them would cost more than the event is worth. */
const LONGEST_READ = 8_192;
/** Of a traceback; both ends say what happened. */
const LONGEST_TRACEBACK = 8_192;

export class TaskEvents {
  /** Decides when they are sent, and beats. */
  readonly dispatcher: EventDispatcher;

  constructor(dispatcher: EventDispatcher) {
    this.dispatcher = dispatcher;
  }

  /** Whether anybody wants task events now. */
  get on(): boolean {
    return this.dispatcher.on;
  }

  /** Sends an event that was made before, when what it tells had to be stored first. */
  send(event: WireEvent | null): void {
    if (event !== null) this.dispatcher.add(event);
  }

  /** It will run here: said before it starts, and not of what is only put off. */
  received({ headers, message }: ActiveRun): void {
    this.#tell('task-received', headers, {
      name: headers.shadow ?? headers.task,
      args: clip(headers.argsrepr, REPR_LIMIT),
      kwargs: clip(headers.kwargsrepr, REPR_LIMIT),
      root_id: headers.rootId,
      parent_id: headers.parentId,
      retries: headers.retries,
      eta: message.headers.eta ?? null,
      expires: message.headers.expires ?? null,
    });
  }

  started({ headers }: ActiveRun): void {
    this.#tell('task-started', headers, {});
  }

  /** It is no longer this worker's: its lease or its channel is gone. */
  cancelled({ headers }: ActiveRun): void {
    this.#tell('task-cancelled', headers, {});
  }

  /** One of the task's own; whose it is and when it was is ours to say. */
  own({ headers }: ActiveRun, type: string, fieldsJson: string): void {
    const fields = { ...(parsed(fieldsJson) as Readonly<Record<string, unknown>> | null) };
    for (const name in COMMON_EVENT_FIELDS) delete fields[name];
    this.send(this.dispatcher.event(type, { ...fields, uuid: headers.id }));
  }

  /** The event of an outcome, to be sent once the outcome is stored; `null` where Celery has none. */
  ended({ headers, terminatedBy = null }: ActiveRun, outcome: Outcome): WireEvent | null {
    switch (outcome.kind) {
      case 'success':
        return this.#event('task-succeeded', headers, {
          result: resultRepr(outcome.resultJson),
          runtime: outcome.runtimeMs / 1_000,
        });
      case 'failure':
        return this.#failure('task-failed', headers, outcome.exceptionJson, outcome.traceback);
      case 'retry':
        return this.#failure('task-retried', headers, outcome.exceptionJson, outcome.traceback);
      case 'undecodable':
        return this.#event('task-failed', headers, { exception: `DecodeError(${pythonRepr(outcome.reason)})` });
      case 'revoked':
        return this.#event('task-revoked', headers, {
          terminated: outcome.begun,
          signum: outcome.begun ? terminatedBy : null,
          expired: false,
        });
      case 'rejected':
        return this.#event('task-rejected', headers, { requeue: outcome.requeue });
      default:
        return null;
    }
  }

  /** The event of a task that ended without running: expired, revoked, unknown, lost too often. */
  endedUnrun(headers: TaskHeaders, state: 'FAILURE' | 'REVOKED', exceptionJson: string): WireEvent {
    if (state === 'FAILURE') return this.#event('task-failed', headers, { exception: exceptionRepr(parsed(exceptionJson)) });
    return this.#event('task-revoked', headers, {
      terminated: false,
      signum: null,
      expired: exceptionJson.includes('["expired"]'),
    });
  }

  #failure(type: string, headers: TaskHeaders, exceptionJson: string | null, traceback: string | null): WireEvent {
    return this.#event(type, headers, {
      exception: exceptionJson === null ? 'None' : exceptionRepr(parsed(exceptionJson)),
      traceback: cutTraceback(traceback ?? ''),
    });
  }

  #event(type: string, { id }: TaskHeaders, fields: Readonly<Record<string, unknown>>): WireEvent {
    return this.dispatcher.event(type, { uuid: id, ...fields });
  }

  #tell(type: string, headers: TaskHeaders, fields: Readonly<Record<string, unknown>>): void {
    this.send(this.#event(type, headers, fields));
  }
}

/** JSON of our own making, or of an executor's: nothing of it is worth failing for. */
function parsed(json: string): unknown {
  try {
    return decodeJson(json);
  } catch {
    return null;
  }
}

function resultRepr(json: string): string {
  if (json.length > LONGEST_READ) return `${clip(json, REPR_LIMIT - 3)}...`;
  return pythonRepr(parsed(json));
}

function cutTraceback(text: string): string {
  if (text.length <= LONGEST_TRACEBACK) return text;
  const half = LONGEST_TRACEBACK / 2;
  return `${clip(text, half)}\n... ${text.length - 2 * half} characters left out ...\n${text.slice(-half)}`;
}
