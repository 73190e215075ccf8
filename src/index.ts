/** The public names of `lovage`, one by one. Joins the app to the worker, which do not know each other. */
import { App } from './app/app.js';
import type { AppOptions } from './app/config.js';
import { checkEntry } from './beat/definition.js';
import { createControl } from './control/client.js';
import { openEvents } from './events/receiver.js';

export { App, type ExecutorHook, type ExecutorScope } from './app/app.js';
export type { CallOptions } from './app/call-options.js';
export type { AppOptions } from './app/config.js';
export type { ControlCommandContext, ControlCommandHandler } from './app/control/control-commands.js';
export type {
  Control,
  ControlAnswers,
  ControlOptions,
  Done,
  PausedName,
  PauseReport,
  TaskRequest,
} from './app/control/control-types.js';
export type { RevokeIdsOptions, RevokeOptions, RevokeOutcome } from './app/control/revoke.js';
export type { DedupeOptions } from './app/dedupe.js';
export type { EventStream, EventsOptions } from './app/events/event-stream.js';
export type { ExecuteMiddleware, HeaderValue, Middleware, PublishMiddleware, PublishRequest } from './app/middleware.js';
export type { QueueOptions, Queues } from './app/queues.js';
export { type ErrorClass, type ErrorMatcher, NonRetryableError, type RetryOptions } from './app/retry-policy.js';
export type { Route, Routes } from './app/router.js';
export type {
  CatchUpOptions,
  CronField,
  CronFieldOptions,
  CronTimingOptions,
  DstPolicy,
  IntervalTimingOptions,
  OnceTimingOptions,
  RepeatedTimes,
  ScheduleOptions,
  SkippedTimes,
  SlotOptions,
  SolarEvent,
  SolarOptions,
  SolarTimingOptions,
  TimingOptions,
  TimingWindowOptions,
} from './app/schedules/schedule-types.js';
export { SendManyError, type SendManyResult } from './app/send-many-error.js';
export { Ignore, Reject, type ReplaceSignal, type RetrySignal, type TaskContext, taskContext } from './app/task-context.js';
export type { ResultOptions, TaskHandle, TaskStatus } from './app/task-handle.js';
export type { RemoteTaskOptions, TaskOptions } from './app/task-options.js';
export type {
  BoundTask,
  CheckedObjectTask,
  FnOptions,
  MapRows,
  NeedsOneArgument,
  ObjectTask,
  RemoteTask,
  SendRow,
  Task,
} from './app/task-types.js';
export type { ArgumentsAreNotWireSafe, IsWireSafe, ResultIsNotWireSafe, WireScalar, WireValue } from './app/wire-safe.js';
export type { Worker, WorkerOptions, WorkerStats } from './app/worker-types.js';
export type { AnyHandle, GroupHandle, GroupProgress, MemberHandle, MemberResult } from './app/workflows/group-handle.js';
export { chain, chord, group } from './app/workflows/signature.js';
export type {
  AnySignature,
  Behind,
  By,
  ChainOf,
  ChordOptions,
  Follower,
  GroupOf,
  HandleOfAny,
  Joined,
  Joint,
  MissingArgument,
  SendOptions,
  Signature,
  SignatureOptions,
  TakesNothing,
  WrongJoint,
} from './app/workflows/signature-types.js';
export type { Stamps, StampValue } from './app/workflows/stamps.js';
export type { GraphOptions, WorkflowEdge, WorkflowGraph, WorkflowNode } from './app/workflows/workflow-graph.js';
export type { QueueArguments, QueueExchangeType, QueueType } from './brokers/queue-table.js';
export type { Outcome, Outcomes, PartFailure } from './canvas/outcomes.js';
export type { ByteSize } from './core/byte-size.js';
export type { Duration } from './core/duration.js';
export type { ErrorCode } from './core/error-codes.js';
export {
  ArgumentError,
  BrokerError,
  ConfigError,
  codeOf,
  DuplicateSendError,
  LovageError,
  PublishError,
  ResultError,
  type SendOutcome,
  TaskError,
  TaskFailedError,
  WireError,
} from './core/errors.js';
export type { Logger } from './core/logger.js';
export type { RateLimit } from './core/rate-limit.js';
export type { Finding, NotReady, TaskRunTimes, WorkerReport } from './core/worker-report.js';
export { ClusterState } from './events/cluster-state.js';
export type {
  ClusterLimits,
  ClusterTask,
  ClusterTaskName,
  ClusterTaskState,
  ClusterTotals,
  ClusterWorker,
} from './events/cluster-types.js';
export type { WireEvent } from './wire/event-message.js';
export type { EventType } from './wire/event-types.js';
export type { WireSignature } from './wire/signature.js';
export { WireDate, WireDecimal, WireTime, WireUuid } from './wire/typed-values.js';

/**
 * Makes an app. Nothing connects until the first send or worker.
 * @throws ConfigError `E_CONFIG_*` for options that are unknown or wrong
 */
export function createApp(options: AppOptions = {}): App {
  // The worker is loaded when one is started: a client that only sends should not pay for it.
  return new App(options, {
    openEvents,
    checkSchedule: checkEntry,
    startWorker: async (app, workerOptions) => (await import('./worker/worker.js')).startWorker(app, workerOptions),
    createControl,
  });
}
