/**
 * The messages between the two halves of a worker. The engine holds every connection and runs no user code; the
 * executor runs user code and holds no connection. Everything here can be cloned: it crosses threads and processes.
 * Bodies cross still encoded and results cross as JSON text, so neither half pays for the other's data twice.
 */
import type { EventMode } from '../app/events/event-mode.js';
import type { ControlQuestion } from '../app/gateway.js';
import type { Broadcast, OutgoingMessage, PublishOptions } from '../brokers/broker.js';
import type { QueueTable } from '../brokers/queue-table.js';
import type { CanvasFacts } from '../canvas/routes.js';
import type { HopelessPart, OpenChord, UncountedChord } from '../results/chords.js';
import type { ResultWrite } from '../results/result-store.js';
import type { SavedCall } from '../results/saved-results.js';
import type { WireMessage } from '../wire/message.js';
import type { ResultChild } from '../wire/result-meta.js';

/** One task to run. `run` is the engine's handle of this run; outcomes name it. */
export interface RunRequest {
  readonly run: number;
  readonly name: string;
  readonly queue: string;
  readonly redelivered: boolean;
  readonly message: WireMessage;
  /** Of its results, if the task was claimed. */
  readonly epoch?: number;
  /** The limits that hold for this run: those of the call, else of the task, else of the worker; `null` = none. */
  readonly softTimeLimitMs: number | null;
  readonly timeLimitMs: number | null;
}

/** Why a run's signal aborts. */
export type AbortReason = 'soft-time-limit' | 'time-limit' | 'shutdown' | 'revoked' | 'lease-lost';

/** Engine → executor. */
export type ToExecutor =
  | { readonly type: 'run'; readonly tasks: readonly RunRequest[] }
  | { readonly type: 'abort'; readonly runs: readonly number[]; readonly reason: AbortReason }
  /** Revoke runs that have begun: their signals abort, and those that have not ended after so long are abandoned. */
  | { readonly type: 'terminate'; readonly runs: readonly number[]; readonly graceMs: number }
  | { readonly type: 'answer'; readonly call: number; readonly value: unknown }
  | { readonly type: 'refusal'; readonly call: number; readonly error: PortError }
  /** Something that a wait call may hear before its answer. */
  | { readonly type: 'update'; readonly call: number; readonly meta: string }
  /** Run a remote command of the app's own, and answer `commanded`. */
  | {
      readonly type: 'command';
      readonly command: number;
      readonly name: string;
      readonly argsJson: string;
      readonly nodeName: string;
    }
  /** Answer `pong`: who does not has a task that keeps its loop. */
  | { readonly type: 'ping' }
  /** Run the onStop hooks, flush, and answer `stopped`. */
  | { readonly type: 'stop' };

/** An error of ours that crossed the port. */
export interface PortError {
  readonly code: string;
  readonly message: string;
  readonly outcome?: 'not-sent' | 'unknown';
  readonly taskId?: string;
  /** Of a DuplicateSendError. */
  readonly existingId?: string;
}

/** What the engine must know of a registered task. */
export interface TaskFacts {
  readonly name: string;
  readonly ack: 'late' | 'early';
  readonly ignoreResult: boolean;
  readonly resultTtlMs: number | null;
  readonly trackStarted: boolean;
  readonly softTimeLimitMs: number | null;
  readonly timeLimitMs: number | null;
  /** How often this worker may start it, as text (`10/m`); `null` = as often as it comes. */
  readonly rateLimit: string | null;
  /** `retry.max: 'unlimited'`: told at the start and in the report. */
  readonly endlessRetry: boolean;
}

/** The first word of an executor. */
export interface ExecutorHello {
  readonly appName: string;
  readonly pid: number;
  readonly brokerUrl: string;
  readonly resultUrl: string;
  readonly defaultQueue: string;
  /** How the app declares its queues. */
  readonly queues: QueueTable;
  /** How long results are kept unless a task says otherwise; `null` for ever. */
  readonly resultTtlMs: number | null;
  /** Whether results say name, arguments, worker, queue and tries too. */
  readonly extendedResults: boolean;
  /** When events are sent unless the worker is told otherwise. */
  readonly events: EventMode;
  readonly tasks: readonly TaskFacts[];
  /** What it takes to send a part of a canvas. */
  readonly canvas: CanvasFacts;
  /** Names of the app's own remote commands. */
  readonly commands: readonly string[];
}

/** A chord whose parts are about to be sent. */
export interface NewChord {
  readonly groupId: string;
  readonly size: number;
  /** The body's signature as JSON text. */
  readonly body: string;
}

interface OutcomeBase {
  readonly run: number;
  /** Milliseconds from start to end in the executor. */
  readonly runtimeMs: number;
  /** What was sent from inside, and what follows by itself. */
  readonly children: readonly ResultChild[];
  /** Something follows the task, or waits for it: the engine sees to that too. */
  readonly canvas?: true;
}

/** How a run ended, as far as the executor can tell. */
export type Outcome =
  /** `follow`: callbacks and the next step of a chain, sent before the result is stored; `chords`: whose parts are among them. */
  | (OutcomeBase & {
      readonly kind: 'success';
      readonly resultJson: string;
      readonly follow?: readonly OutgoingMessage[];
      readonly chords?: readonly NewChord[];
      /** It is a part of a chord. */
      readonly isPart?: true;
    })
  | (OutcomeBase & {
      readonly kind: 'failure';
      readonly exceptionJson: string;
      readonly traceback: string;
      readonly expected: boolean;
      /** Failed by its hard time limit while its code goes on somewhere: whatever that still does counts for nothing. */
      readonly abandoned?: true;
    })
  /** Another try after `delayMs`; the engine makes the successor from the message it holds. */
  | (OutcomeBase & {
      readonly kind: 'retry';
      readonly delayMs: number;
      readonly exceptionJson: string | null;
      readonly traceback: string | null;
    })
  /** Other tasks take its place: it has no result of its own. */
  | (OutcomeBase & {
      readonly kind: 'replaced';
      readonly follow: readonly OutgoingMessage[];
      readonly chords: readonly NewChord[];
    })
  /** The body is no task body; it is parked. */
  | (OutcomeBase & { readonly kind: 'undecodable'; readonly code: string; readonly reason: string })
  /** The task threw Ignore or Reject. */
  | (OutcomeBase & { readonly kind: 'ignored' })
  | (OutcomeBase & { readonly kind: 'rejected'; readonly requeue: boolean })
  /** `begun`: it was told to end while it ran. `abandoned`: its code goes on somewhere, and whatever that still does counts for nothing. */
  | (OutcomeBase & { readonly kind: 'revoked'; readonly begun: boolean; readonly abandoned: boolean })
  /** The run was given up because its signal aborted for shutdown or a lost lease: nothing is stored, the message goes back. */
  | (OutcomeBase & { readonly kind: 'handed-back' });

/** What an executor may ask of the engine on behalf of user code. */
export type EngineCall =
  | {
      readonly method: 'publish';
      readonly messages: readonly OutgoingMessage[];
      readonly options: Omit<PublishOptions, 'signal'>;
    }
  | { readonly method: 'prepareResults' }
  | { readonly method: 'getResults'; readonly ids: readonly string[] }
  | { readonly method: 'waitResult'; readonly id: string }
  | { readonly method: 'broadcast'; readonly broadcast: Broadcast }
  | { readonly method: 'forgetResults' | 'withdraw'; readonly ids: readonly string[] }
  | { readonly method: 'storeResults'; readonly writes: readonly ResultWrite[] }
  | { readonly method: 'savedResults'; readonly saved: SavedCall }
  | { readonly method: 'openChords'; readonly chords: readonly OpenChord[] }
  | { readonly method: 'giveUpParts'; readonly parts: readonly HopelessPart[]; readonly resultTtlMs: number | null }
  | { readonly method: 'recordRevoked'; readonly ids: readonly string[]; readonly ttlMs: number }
  /** `chords`: whose parts are among what is sent for it. */
  | { readonly method: 'addPart'; readonly groupId: string; readonly taskId: string; readonly chords: readonly NewChord[] }
  | { readonly method: 'endChord'; readonly chord: UncountedChord }
  /** A step of the task of this run. */
  | { readonly method: 'getStep'; readonly run: number; readonly name: string }
  | { readonly method: 'putStep'; readonly run: number; readonly name: string; readonly resultJson: string }
  /** Remote control: with answers, or without. */
  | { readonly method: 'ask' | 'tell'; readonly question: ControlQuestion };

/** Executor → engine. */
export type FromExecutor =
  | { readonly type: 'ready'; readonly hello: ExecutorHello }
  /** The app file did not load or an onStart hook threw. */
  | { readonly type: 'broken'; readonly error: PortError & { readonly stack?: string } }
  | { readonly type: 'outcomes'; readonly outcomes: readonly Outcome[] }
  /** A state of the task's own (PROGRESS, …). */
  | { readonly type: 'state'; readonly run: number; readonly state: string; readonly resultJson: string }
  /** An event of the task's own. */
  | { readonly type: 'event'; readonly run: number; readonly event: string; readonly fieldsJson: string }
  | { readonly type: 'call'; readonly call: number; readonly request: EngineCall }
  | { readonly type: 'cancel-call'; readonly call: number }
  | { readonly type: 'pong' }
  | { readonly type: 'commanded'; readonly command: number; readonly resultJson: string }
  | { readonly type: 'commanded'; readonly command: number; readonly error: { readonly name: string; readonly message: string } }
  /** It has grown beyond its limit; said once. */
  | { readonly type: 'over-memory'; readonly rssBytes: number }
  | PortLog
  | { readonly type: 'stopped' };

/** A line of a logger that lives on the engine's side. */
export interface PortLog {
  readonly type: 'log';
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string | undefined;
}

/** One end of a port; a MessagePort, a child's channel, or a pair of functions on one loop. */
export interface PortEnd<Out, In> {
  post(message: Out): void;
  onMessage(listener: (message: In) => void): void;
  close(): void;
}

export interface EngineEnd extends PortEnd<ToExecutor, FromExecutor> {
  /** The run whose handler was entered and has not yielded yet, 0 for none; only where memory can be shared. */
  readonly entered?: () => number;
}
export type ExecutorEnd = PortEnd<FromExecutor, ToExecutor>;
