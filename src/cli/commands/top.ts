/**
 * `lovage top`: a live view of workers, rates, running and slow tasks, and queues. Owns the terminal and the questions to the
 * broker; what is shown is `top/model.ts`, how it looks `top/screen.ts`.
 */
import type { Command } from 'commander';
import type { TaskRequest } from '../../app/control/control-types.js';
import type { EventStream } from '../../app/events/event-stream.js';
import type { Broker } from '../../brokers/broker.js';
import { sleep } from '../../core/clock.js';
import { type Duration, durationMs } from '../../core/duration.js';
import { toError } from '../../core/errors.js';
import { ClusterState } from '../../events/cluster-state.js';
import { openEvents } from '../../events/receiver.js';
import { reprArgs } from '../../wire/python-repr.js';
import { withControl } from '../control/connect.js';
import {
  addConnectionOptions,
  type Connection,
  type ConnectionFlags,
  duration,
  named,
  resolveConnection,
  wholeNumber,
} from '../options.js';
import { printJson, printLine, visible } from '../output.js';
import { QueueHeads, Rates, snapshot, type TopQueue, type TopSnapshot } from '../top/model.js';
import { screenLines } from '../top/screen.js';
import { connectedBroker, untilStopped } from '../watch.js';

interface TopFlags extends ConnectionFlags {
  readonly queues?: readonly string[];
  readonly interval: Duration;
  readonly for: Duration;
  readonly limit: number;
  readonly once?: boolean;
}

/** Queues that are looked into for their next message; of the others only the depth is asked. */
const MAX_PEEKS = 50;
/** What workers are asked at the start is awaited no longer. */
const ASK_TIMEOUT = '1s';
const PLAIN_SIZE = { columns: 160, rows: 100 };

const TERMINAL = {
  enter: '\x1b[?1049h\x1b[?25l',
  leave: '\x1b[?25h\x1b[?1049l',
  home: '\x1b[H',
  endOfLine: '\x1b[K\r\n',
  endOfScreen: '\x1b[J',
};

function queueList(text: string): readonly string[] {
  return text.split(',').map((queue) => named(queue.trim()));
}

/** One view of a cluster: hears events all the time, and asks the broker when a snapshot is wanted. */
class View {
  readonly #state = new ClusterState();
  readonly #rates = new Rates();
  readonly #heads = new QueueHeads();
  readonly #broker: Broker;
  readonly #stream: EventStream;
  readonly #limit: number;
  readonly #startedMs = Date.now();
  #queues: readonly string[] | null;

  constructor(broker: Broker, stream: EventStream, flags: TopFlags) {
    this.#broker = broker;
    this.#stream = stream;
    this.#queues = flags.queues ?? null;
    this.#limit = flags.limit;
  }

  /** Resolves when the stream ends. */
  async hear(): Promise<void> {
    for await (const event of this.#stream) this.#state.apply(event, Date.now());
  }

  /** What began before anybody listened, and which queues are consumed: from the workers, as far as they answer. */
  async askWorkers(connection: Connection): Promise<void> {
    try {
      await withControl(connection, async (control) => {
        const [active, queues] = await Promise.all([
          control.active({ timeout: ASK_TIMEOUT }),
          control.activeQueues({ timeout: ASK_TIMEOUT }),
        ]);
        for (const tasks of active.answers.values()) for (const task of tasks) this.#began(task);
        const known = await this.#broker.queues();
        const consumed = [...queues.answers.values()].flatMap((each) => each.map(({ name }) => String(name)));
        this.#queues ??= [...new Set([...known, ...consumed])].sort();
      });
    } catch {
      // Without an answer there is less to show, and events tell the rest as it happens.
      this.#queues ??= await this.#broker.queues().catch(() => []);
    }
  }

  async snapshot(): Promise<TopSnapshot> {
    const queues = await this.#lookAtQueues();
    const nowMs = Date.now();
    return snapshot({
      ...{ state: this.#state, queues, nowMs, limit: this.#limit, startedMs: this.#startedMs },
      ...{ rates: this.#rates.next(this.#state, nowMs), droppedEvents: this.#stream.dropped },
    });
  }

  /** As the events of a task that had begun before this view: real ones, told later, count before it. */
  #began({ id, name, args, hostname, time_start }: TaskRequest): void {
    if (time_start === null || this.#state.task(id) !== undefined) return;
    const about = { uuid: id, hostname, clock: 0, utcoffset: 0, timestamp: time_start };
    const shown = Array.isArray(args) ? reprArgs(args as unknown[]) : args;
    this.#state.apply({ ...about, type: 'task-received', name, args: shown }, Date.now());
    this.#state.apply({ ...about, type: 'task-started' }, Date.now());
  }

  async #lookAtQueues(): Promise<TopQueue[]> {
    const depths = await this.#broker.depth(this.#queues ?? (await this.#broker.queues()));
    const canPeek = this.#broker.capabilities.peek === true;
    return Promise.all(
      depths.map(async (depth, index) => {
        if (!canPeek || index >= MAX_PEEKS || depth.ready === 0) return { ...depth, oldestMs: null };
        const [next] = await this.#broker.peek(depth.queue, 1);
        const id = next && 'message' in next && typeof next.message.headers.id === 'string' ? next.message.headers.id : null;
        const sentAtMs = id === null ? null : (this.#state.task(id)?.sentAtMs ?? null);
        return { ...depth, oldestMs: this.#heads.see(depth.queue, id, sentAtMs, Date.now()) };
      }),
    );
  }
}

/** Paints until it is stopped; leaves the terminal as it was. */
async function live(view: View, intervalMs: number, stop: AbortController, name: string): Promise<void> {
  const { stdin, stdout } = process;
  const onKey = (key: Buffer): void => {
    const pressed = key.toString();
    if (pressed === 'q' || pressed === '\u0003') stop.abort();
  };
  if (stdin.isTTY) {
    stdin.setRawMode(true);
    stdin.on('data', onKey).resume();
  }
  stdout.write(TERMINAL.enter);
  try {
    while (!stop.signal.aborted) {
      const { columns = 80, rows = 24 } = stdout;
      let lines: string[];
      try {
        lines = screenLines(await view.snapshot(), { columns, rows: rows - 2 });
      } catch (thrown) {
        lines = [visible(`the broker does not answer: ${toError(thrown).message}`).slice(0, columns)];
      }
      const title = `lovage top  ${name}  ${new Date().toLocaleTimeString('en-GB')}  q ends it`.slice(0, columns);
      const painted = [title, ...lines].slice(0, rows - 1).join(TERMINAL.endOfLine);
      stdout.write(`${TERMINAL.home}${painted}${TERMINAL.endOfLine}${TERMINAL.endOfScreen}`);
      await sleep(intervalMs, stop.signal).catch(() => {});
    }
  } finally {
    stdout.write(TERMINAL.leave);
    if (stdin.isTTY) {
      stdin.setRawMode(false);
      stdin.off('data', onKey).pause();
    }
  }
}

async function run(flags: TopFlags): Promise<void> {
  const connection = await resolveConnection(flags);
  const broker = await connectedBroker(connection);
  const stop = new AbortController();
  const asked = untilStopped(null);
  asked.signal.addEventListener('abort', () => stop.abort(), { once: true });
  const stream = openEvents({ broker: async () => broker, logger: connection.logger });
  const view = new View(broker, stream, flags);
  const hearing = view.hear();
  try {
    await stream.ready;
    await view.askWorkers(connection);
    if (process.stdout.isTTY && !flags.once && !flags.json) {
      await live(view, durationMs(flags.interval, '--interval'), stop, broker.name);
    } else {
      await view.snapshot();
      await sleep(durationMs(flags.for, '--for'), stop.signal).catch(() => {});
      const seen = await view.snapshot();
      if (flags.json) printJson(seen);
      else printLine(screenLines(seen, PLAIN_SIZE).join('\n'));
    }
  } finally {
    asked.release();
    await stream.close();
    await hearing.catch(() => {});
    await broker.close();
  }
}

export function defineTop(command: Command): void {
  addConnectionOptions(
    command
      .description(
        'Shows workers, rates, running and slow tasks and the depth of queues, live. Without a terminal, or with --once or --json, it looks for a while and shows one snapshot.',
      )
      .option(
        '--queues <list>',
        'queues to show, separated by commas (default: those that the broker or the workers name)',
        queueList,
      )
      .option('--interval <duration>', 'how often it is painted anew', duration, '2s' as Duration)
      .option('--limit <n>', 'how many tasks at most', wholeNumber(1), 20)
      .option('--once', 'one snapshot, then end')
      .option('--for <duration>', 'how long events are gathered for a single snapshot', duration, '3s' as Duration),
    { results: false },
  )
    .addHelpText(
      'after',
      `
OLDEST is how long the next message of a queue has been seen waiting: at least so long. RabbitMQ cannot show messages: "?".
Rates and tasks come from events: workers of Lovage send them while this runs, those of Python only with -E.

Examples:
  $ lovage top --broker redis://localhost:6379/0
  $ lovage top --once
  $ lovage top --json --for 10s | jq .rates`,
    )
    .action(run);
}
