/** How `lovage top` looks: a snapshot as lines of a terminal, no wider and no more than it has. Pure. */
import { formatTable, shorten } from '../output.js';
import type { TopSnapshot } from './model.js';

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

/** A part of the screen: a table, or a sentence where there is none. */
interface Part {
  readonly title: string;
  readonly table: readonly string[];
  readonly empty: string;
}

const SECOND_MS = 1_000;

/** The lines of a snapshot. Parts share the height; what is left out is said. */
export function screenLines(snapshot: TopSnapshot, { columns, rows }: ScreenSize): string[] {
  const { workers, rates, queues, running, runningCount, tasks } = snapshot;
  const alive = workers.filter((worker) => worker.alive).length;
  const dropped = snapshot.droppedEvents + workers.reduce((sum, worker) => sum + worker.droppedEvents, 0);
  const head = [
    `workers ${alive} of ${workers.length} alive   running ${runningCount}   received ${rateText(rates.received)}   succeeded ${rateText(rates.succeeded)}   failed ${rateText(rates.failed)}   retried ${rateText(rates.retried)}   watched for ${age(snapshot.watchedMs)}${dropped > 0 ? `   EVENTS MISSING ${dropped}` : ''}`,
  ];
  const parts: Part[] = [
    {
      title: 'QUEUES',
      table: lines(
        ['QUEUE', 'READY', 'DELAYED', 'HELD', 'OLDEST'],
        queues.map((queue) => [
          ...[shorten(queue.queue, 40), queue.ready, cell(queue.delayed), cell(queue.unacked)],
          queue.ready === 0 ? '' : queue.oldestMs === null ? '?' : `${age(queue.oldestMs)}+`,
        ]),
        [1, 2, 3, 4],
      ),
      empty: 'no queue is known; name them with --queues',
    },
    {
      title: 'WORKERS',
      table: lines(
        ['WORKER', 'STATE', 'ACTIVE', 'DONE', 'LOAD', 'HEARD', 'SOFTWARE'],
        [...workers]
          .sort((a, b) => Number(b.alive) - Number(a.alive))
          .map((worker) => [
            ...[shorten(worker.name, 40), worker.alive ? 'alive' : 'gone', cell(worker.active), cell(worker.processed)],
            ...[
              worker.load === null ? '' : worker.load.toFixed(2),
              `${age(worker.silentMs)} ago`,
              shorten(worker.software ?? '', 24),
            ],
          ]),
        [2, 3, 4, 5],
      ),
      empty: 'no worker has said a word yet: heartbeats come every 2 s, or 30 s from one that was not woken',
    },
    {
      title: 'RUNNING LONGEST',
      table: lines(
        ['FOR', 'TASK', 'WORKER', 'ID', 'ARGUMENTS'],
        running.map((task) => [
          ...[
            age(task.forMs),
            shorten(task.name ?? '(name not known)', 40),
            shorten(task.worker ?? '', 30),
            shorten(task.id, 36),
          ],
          shorten(task.args ?? '', 40),
        ]),
        [0],
      ),
      empty: 'nothing runs',
    },
    {
      title: 'TASKS BY TIME',
      table: lines(
        ['TASK', 'RUNS', 'FAILED', 'RETRIED', 'MEAN', 'LONGEST'],
        tasks.map((task) => [
          ...[shorten(task.name, 50), task.runs, task.failed, task.retried, age(task.meanMs), age(task.longestMs)],
        ]),
        [1, 2, 3, 4, 5],
      ),
      empty: 'none has ended since this began',
    },
  ];
  return [...head, ...fitted(parts, rows - head.length)].map((line) => cut(line, columns));
}

/** Each part gets its title and its share of what is left; what one does not need goes to the others. */
function fitted(parts: readonly Part[], rows: number): string[] {
  let left = rows - parts.length * 2;
  let others = parts.length;
  const room = new Map<Part, number>();
  for (const part of [...parts].sort((a, b) => height(a) - height(b))) {
    const share = Math.min(height(part), Math.max(1, Math.floor(left / others)));
    room.set(part, share);
    left -= share;
    others -= 1;
  }
  return parts.flatMap((part) => {
    const share = room.get(part) ?? 1;
    if (part.table.length <= 1) return ['', part.title, `  ${part.empty}`];
    const shown = part.table.length <= share ? part.table : part.table.slice(0, Math.max(2, share - 1));
    const missing = part.table.length - shown.length;
    return ['', part.title, ...shown.map((line) => `  ${line}`), ...(missing > 0 ? [`  and ${missing} more`] : [])];
  });
}

function height(part: Part): number {
  return Math.max(1, part.table.length);
}

function lines(head: readonly string[], rows: readonly (readonly (string | number)[])[], right: readonly number[]): string[] {
  return rows.length === 0 ? [] : formatTable(head, rows, right).split('\n');
}

function cell(count: number | null): string {
  return count === null ? '?' : String(count);
}

function rateText(perSecond: number): string {
  return `${perSecond >= 100 ? Math.round(perSecond) : perSecond.toFixed(1)}/s`;
}

/** A time, roughly: two units at most. */
function age(ms: number): string {
  if (ms < SECOND_MS) return `${Math.round(ms)}ms`;
  if (ms < 10 * SECOND_MS) return `${(ms / SECOND_MS).toFixed(1)}s`;
  const seconds = Math.round(ms / SECOND_MS);
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3_600), Math.floor(seconds / 86_400)];
  if (minutes === 0) return `${seconds}s`;
  if (hours === 0) return `${minutes}m ${seconds % 60}s`;
  return days === 0 ? `${hours}h ${minutes % 60}m` : `${days}d ${hours % 24}h`;
}

/** Cut to the terminal's width; escape sequences of colours take no room. */
function cut(line: string, columns: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what colours are made of
  const visibleLength = line.replace(/\u001b\[[0-9;]*m/g, '').length;
  if (visibleLength <= columns) return line;
  let seen = 0;
  let out = '';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what colours are made of
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    if (part.startsWith('\u001b')) out += part;
    else {
      out += part.slice(0, Math.max(0, columns - seen));
      seen += part.length;
    }
  }
  return out;
}
