/** The metrics of a worker as Prometheus reads them (text format 0.0.4). Pure. */
import type { TaskRunTimes } from '../../../core/worker-report.js';

/** One metric with its samples; a sample's labels stand in braces already. */
interface Metric {
  readonly name: string;
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly samples: readonly (readonly [labels: string, value: number])[];
}

export interface MetricValues {
  readonly node: string;
  readonly ready: boolean;
  /** Totals by name, without `received`. */
  readonly counters: Readonly<Record<string, number>>;
  readonly active: number;
  readonly slots: number;
  readonly executors: number;
  readonly blockedExecutors: number;
  readonly longestBlockMs: number;
  readonly blocks: number;
  readonly lostDeliveries: number;
  readonly droppedEvents: number;
  readonly connected: boolean;
  /** Age of the broker's last sign of life; `null` before the first connection. */
  readonly brokerSilentMs: number | null;
  readonly loopLagMs: number;
  readonly rssBytes: number;
  readonly cpuSeconds: number;
  readonly startedAtMs: number;
  /** At most 1,000 and one a queue. */
  readonly tasks: readonly TaskRunTimes[];
}

export function metricsText(values: MetricValues): string {
  const gauge = (name: string, help: string, value: number): Metric => ({ name, type: 'gauge', help, samples: [['', value]] });
  const counter = (name: string, help: string, value: number): Metric => ({
    name,
    type: 'counter',
    help,
    samples: [['', value]],
  });
  const labelled = values.tasks.map((row) => [`{queue="${labelValue(row.queue)}",task="${labelValue(row.task)}"}`, row] as const);
  const metrics: Metric[] = [
    { name: 'lovage_worker_info', type: 'gauge', help: 'The worker.', samples: [[`{node="${labelValue(values.node)}"}`, 1]] },
    gauge('lovage_ready', '1 when the worker can take tasks.', Number(values.ready)),
    {
      name: 'lovage_deliveries_total',
      type: 'counter',
      help: 'Deliveries, and what became of them.',
      samples: Object.entries(values.counters).map(([name, count]) => [`{event="${labelValue(name)}"}`, count] as const),
    },
    gauge('lovage_active', 'Tasks that run or wait for a slot.', values.active),
    gauge('lovage_slots', 'Tasks that may run at once.', values.slots),
    gauge('lovage_executors', 'Executors that are alive.', values.executors),
    gauge('lovage_executors_blocked', 'Executors that have not answered for two seconds.', values.blockedExecutors),
    gauge('lovage_executor_block_seconds', 'Longest time for which an executor has not answered.', values.longestBlockMs / 1_000),
    counter('lovage_executor_blocks_total', 'Blocks of executors of two seconds and more.', values.blocks),
    counter(
      'lovage_deliveries_lost_total',
      "Deliveries that were no longer this worker's: lease over or channel gone.",
      values.lostDeliveries,
    ),
    counter('lovage_events_dropped_total', 'Events for monitors that could not be sent in time.', values.droppedEvents),
    gauge('lovage_broker_connected', '1 while the broker is connected.', Number(values.connected)),
    ...(values.brokerSilentMs === null
      ? []
      : [gauge('lovage_broker_silence_seconds', "Time since the broker's last sign of life.", values.brokerSilentMs / 1_000)]),
    gauge(
      'lovage_engine_lag_seconds',
      "Latest that a timer of the engine's loop was in the last half minute.",
      values.loopLagMs / 1_000,
    ),
    {
      name: 'lovage_task_run_seconds_total',
      type: 'counter',
      help: 'Time that runs took.',
      samples: labelled.map(([labels, row]) => [labels, row.totalMs / 1_000] as const),
    },
    {
      name: 'lovage_task_runs_total',
      type: 'counter',
      help: 'Runs that ended.',
      samples: labelled.map(([labels, row]) => [labels, row.runs] as const),
    },
    {
      name: 'lovage_task_failures_total',
      type: 'counter',
      help: 'Runs that failed for good.',
      samples: labelled.map(([labels, row]) => [labels, row.failures] as const),
    },
    gauge('process_resident_memory_bytes', 'Memory of the process.', values.rssBytes),
    counter('process_cpu_seconds_total', 'CPU time of the process.', values.cpuSeconds),
    gauge('process_start_time_seconds', 'When the worker started, in seconds since 1970.', values.startedAtMs / 1_000),
  ];
  let text = '';
  for (const { name, type, help, samples } of metrics) {
    text += `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    for (const [labels, value] of samples) text += `${name}${labels} ${value}\n`;
  }
  return text;
}

/** Names of queues and tasks may hold anything. */
function labelValue(value: string): string {
  return /[\\"\n]/.test(value) ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n') : value;
}
