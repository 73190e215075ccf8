/**
 * The commands of `lovage inspect` and `lovage control`: a table of names, arguments and what each asks. Names are Celery's, with
 * hyphens as well. What they print is `output.ts`; pauses, which are ours, are in `pauses.ts`.
 */

import type { Control, ControlAnswers, ControlOptions } from '../../app/control/control-types.js';
import { durationMs } from '../../core/duration.js';
import { UsageError } from '../exit-codes.js';

export interface RemoteCommand {
  readonly name: string;
  readonly summary: string;
  /** In commander's form: `<task>`, `[count]`, `[ids...]`. */
  readonly args?: readonly (readonly [form: string, about: string])[];
  readonly flags?: readonly (readonly [form: string, about: string])[];
  readonly example?: string;
  /** Asks before it is done, unless `--yes`: it stops or ends something. */
  readonly asks?: string;
  run(
    control: Control,
    args: readonly string[],
    options: ControlOptions,
    flags: Readonly<Record<string, unknown>>,
  ): Promise<Outcome>;
}

/** Answers; or only how many heard it, of a command that nobody answers. */
export type Outcome = ControlAnswers | { readonly heardBy: number | null };

/** A whole number from 1. */
function count(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new UsageError(`${JSON.stringify(text)} is no whole number from 1`);
}

/** Seconds, as Celery takes them, or a duration; `none` = no limit. */
function seconds(text: string | undefined): number | null {
  if (text === undefined || text === 'none') return null;
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  try {
    return durationMs(text, 'it') / 1_000;
  } catch {
    throw new UsageError(`${JSON.stringify(text)} is neither seconds, nor a duration such as 30s, nor none`);
  }
}

/** `k=v` pairs. */
function pairs(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw new UsageError(`${JSON.stringify(text)} is not header=value`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

const IDS = ['<ids...>', 'ids of tasks'] as const;
const TASK = ['<task>', 'name of the task'] as const;
const QUEUE = ['<queue>', 'name of the queue'] as const;
const BY = ['[count]', 'how many; 1 by default'] as const;

export const INSPECT: readonly RemoteCommand[] = [
  { name: 'ping', summary: 'which workers live', run: (control, _args, options) => control.ping(options) },
  { name: 'active', summary: 'tasks that run', run: (control, _args, options) => control.active(options) },
  {
    name: 'reserved',
    summary: 'tasks that are taken and have not begun',
    run: (control, _args, options) => control.reserved(options),
  },
  {
    name: 'scheduled',
    summary: 'tasks that a worker holds until their time',
    run: (control, _args, options) => control.scheduled(options),
  },
  {
    name: 'revoked',
    summary: 'ids of revoked tasks that workers know of',
    run: (control, _args, options) => control.revoked(options),
  },
  {
    name: 'registered',
    summary: 'tasks that workers can run',
    args: [['[facts...]', 'facts to show of each task, for example rate_limit']],
    example: 'lovage inspect registered rate_limit',
    run: (control, args, options) => control.registered(args, options),
  },
  {
    name: 'stats',
    summary: 'figures of workers, pools and connections',
    run: (control, _args, options) => control.stats(options),
  },
  { name: 'active_queues', summary: 'queues that are consumed', run: (control, _args, options) => control.activeQueues(options) },
  {
    name: 'query_task',
    summary: 'which worker has a task',
    args: [IDS],
    example: 'lovage inspect query_task 4f3c0a52-6f0e-4f2e-9c1d-0b1f6a3a7d11',
    run: (control, ids, options) => control.queryTask(ids, options),
  },
  { name: 'report', summary: "workers' software", run: (control, _args, options) => control.report(options) },
  {
    name: 'conf',
    summary: 'settings that differ from their defaults',
    flags: [['--with-defaults', 'the others too']],
    run: (control, _args, options, { withDefaults }) => control.conf({ ...options, withDefaults: withDefaults === true }),
  },
  { name: 'clock', summary: 'logical clocks', run: (control, _args, options) => control.clock(options) },
  { name: 'memsample', summary: 'memory of workers', run: (control, _args, options) => control.call('memsample', {}, options) },
];

export const CONTROL: readonly RemoteCommand[] = [
  {
    name: 'rate_limit',
    summary: 'how often a task may start, a worker',
    args: [TASK, ['<rate>', "for example '10/m', '100/s' or '2/h'; 0 = no limit"]],
    example: 'lovage control rate_limit mails.send 10/m',
    run: (control, [task, rate], options) => control.rateLimit(task as string, rate as string, options),
  },
  {
    name: 'time_limit',
    summary: 'time limits of a task, for runs that start from now on',
    args: [TASK, ['<soft>', "seconds, or a duration such as '30s', or none"], ['[hard]', 'the same; none by default']],
    example: 'lovage control time_limit reports.make 25s 30s',
    run: (control, [task, soft, hard], options) =>
      control.call('time_limit', { task_name: task, soft: seconds(soft), hard: seconds(hard) }, options),
  },
  {
    name: 'pool_grow',
    summary: 'more slots',
    args: [BY],
    run: (control, [by], options) => control.poolGrow(count(by), options),
  },
  {
    name: 'pool_shrink',
    summary: 'fewer slots; what runs ends first',
    args: [BY],
    run: (control, [by], options) => control.poolShrink(count(by), options),
  },
  {
    name: 'pool_restart',
    summary: 'replace what runs tasks; Python workers only, where they allow it',
    run: (control, _args, options) => control.call('pool_restart', {}, options),
  },
  {
    name: 'autoscale',
    summary: 'bounds between which the pool scales by itself',
    args: [
      ['<max>', 'threads or processes at most'],
      ['[min]', 'and at least'],
    ],
    example: 'lovage control autoscale 20 2 --destination w1@host',
    run: (control, [max, min], options) =>
      control.call('autoscale', { max: count(max), min: min === undefined ? null : Number(min) }, options),
  },
  {
    name: 'add_consumer',
    summary: 'consume one more queue, until the worker ends',
    args: [QUEUE],
    example: 'lovage control add_consumer slow --destination w1@host',
    run: (control, [queue], options) => control.addConsumer(queue as string, options),
  },
  {
    name: 'cancel_consumer',
    summary: 'stop consuming a queue, until the worker ends',
    args: [QUEUE],
    run: (control, [queue], options) => control.cancelConsumer(queue as string, options),
  },
  { name: 'enable_events', summary: 'send events of tasks', run: (control, _args, options) => control.enableEvents(options) },
  { name: 'disable_events', summary: 'send them no more', run: (control, _args, options) => control.disableEvents(options) },
  {
    name: 'heartbeat',
    summary: 'send a heartbeat event now',
    run: (control, _args, options) => control.call('heartbeat', {}, options),
  },
  {
    name: 'revoke',
    summary: 'tell running workers not to run tasks (lovage revoke also tells those that start later)',
    args: [IDS],
    run: (control, ids, options) => control.call('revoke', { task_id: ids }, options),
  },
  {
    name: 'terminate',
    summary: 'end tasks that run',
    args: [['<signal>', 'for example TERM or KILL'], IDS],
    asks: 'ends tasks in the middle of their work',
    run: (control, [signal, ...ids], options) => control.call('revoke', { task_id: ids, terminate: true, signal }, options),
  },
  {
    name: 'revoke_by_stamped_headers',
    summary: 'tell running workers not to run tasks with these stamps',
    args: [['<headers...>', 'header=value']],
    run: (control, headers, options) => control.call('revoke_by_stamped_headers', { headers: pairs(headers) }, options),
  },
  {
    name: 'shutdown',
    summary: 'stop workers: they finish what runs and hand back the rest',
    asks: 'stops every worker that it reaches',
    run: async (control, _args, { destination, pattern, matcher }) => ({
      heardBy: await control.shutdown({
        ...(destination === undefined ? {} : { destination }),
        ...(pattern === undefined ? {} : { pattern }),
        ...(matcher === undefined ? {} : { matcher }),
      }),
    }),
  },
];
