/** Events as lines for people, and which of them are wanted. What `lovage events` prints; pure but for its memory of names. */
import type { WireEvent } from '../wire/event-message.js';
import { shorten } from './output.js';

/** Tasks whose names are remembered, because only the first event of a task has its name; the oldest goes first. */
const MAX_NAMES = 10_000;
const COMMON: ReadonlySet<string> = new Set(['type', 'hostname', 'timestamp', 'clock', 'utcoffset', 'pid', 'uuid', 'name']);
/** What nobody wants to read in one line. */
const LONG: ReadonlySet<string> = new Set(['traceback', 'root_id', 'parent_id', 'exchange', 'routing_key', 'sw_sys']);

export class EventLines {
  readonly #task: string | null;
  readonly #names = new Map<string, string>();

  /** @param task only events of the task with this id or name; `null`: all */
  constructor(task: string | null) {
    this.#task = task;
  }

  /** The task's name as far as it is known; remembers it. To be asked for each event, in order. */
  name(event: WireEvent): string | null {
    const { uuid, name } = event;
    if (typeof uuid !== 'string') return null;
    if (typeof name !== 'string') return this.#names.get(uuid) ?? null;
    this.#names.delete(uuid);
    this.#names.set(uuid, name);
    if (this.#names.size > MAX_NAMES)
      for (const oldest of this.#names.keys()) {
        this.#names.delete(oldest);
        break;
      }
    return name;
  }

  wants(event: WireEvent, name: string | null): boolean {
    return this.#task === null || event.uuid === this.#task || (name !== null && name === this.#task);
  }
}

/** `12:30:01.250  task-succeeded     w1@host  math.add  <id>  result=4 runtime=0.25`; one line whatever is in it. */
export function eventLine(event: WireEvent, name: string | null): string {
  const { uuid } = event;
  const parts = [timeOf(event.timestamp), event.type.padEnd(16), event.hostname];
  if (typeof uuid === 'string') parts.push(name ?? '(name not known)', uuid);
  const fields = Object.entries(event)
    .filter(([field, value]) => !COMMON.has(field) && !LONG.has(field) && value !== null && value !== undefined)
    .map(([field, value]) => `${field}=${valueText(value)}`);
  return [...parts.map((part) => shorten(part, 120)), shorten(fields.join(' '), 300)].join('  ').trimEnd();
}

function valueText(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' && !Number.isInteger(value)) return String(Number(value.toPrecision(4)));
  return JSON.stringify(value) ?? '';
}

/** Wall time here, to the millisecond. */
function timeOf(timestamp: number): string {
  const date = new Date(timestamp * 1_000);
  if (Number.isNaN(date.getTime())) return '--:--:--.---';
  const two = (part: number): string => String(part).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`;
}
