/**
 * Offsets of IANA time zones, read from `Intl` and remembered. Asking `Intl` costs microseconds and a search asks often, so each
 * zone is cut into chunks of about 13 months, each scanned once for its changes. Everything remembered has a cap. Pure in what it
 * answers: the same zone and instant give the same offset.
 */
import { ConfigError } from '../../core/errors.js';

/** A stretch of time with one offset. */
export interface Segment {
  /** Epoch milliseconds, included; of the change itself, or of nothing in particular when `beforeMs` equals `offsetMs`. */
  readonly startMs: number;
  /** Epoch milliseconds, excluded. */
  readonly endMs: number;
  /** Local time minus UTC. */
  readonly offsetMs: number;
  /** The offset before `startMs`. */
  readonly beforeMs: number;
  /** The offset from `endMs` on. */
  readonly afterMs: number;
}

/** The chunks of a zone by their number. */
type Zone = Map<number, readonly Segment[]>;

const DAY_MS = 86_400_000;
/** Whole seconds, as slots and changes are. */
const CHUNK_MS = 400 * DAY_MS;
/** Read beyond both ends of a chunk: a change just outside decides which local times inside are repeated. A change moves the clock by a day at most. */
const MARGIN_MS = 4 * DAY_MS;
/** How often the offset is looked at to find changes. From 1900 to 2040 no zone went there and back in less than seven days (Brazil, 2000). */
const LOOK_MS = 4 * DAY_MS;
/** More than there are; a spelling of its own does not count as one, `checkZone` has settled that. */
const MOST_ZONES = 1_024;
const MOST_NAMES = 1_024;
const MOST_CHUNKS = 64;
/** A formatter takes tens of kilobytes. */
const MOST_FORMATTERS = 32;
const LONGEST_NAME = 64;

const zones = new Map<string, Zone>();
const formatters = new Map<string, Intl.DateTimeFormat>();
/** Names that were checked, as people write them, and as they stand in a schedule: to ask `Intl` takes a fifth of a millisecond. */
const names = new Map<string, string>();

/** Makes room for one more: the oldest goes. */
function makeRoom(map: Map<unknown, unknown>, most: number): void {
  if (map.size < most) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}

function formatterOf(name: string): Intl.DateTimeFormat {
  let formatter = formatters.get(name);
  if (!formatter) {
    formatter = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    makeRoom(formatters, MOST_FORMATTERS);
    formatters.set(name, formatter);
  }
  return formatter;
}

/** The offset at an instant, as `Intl` says it. */
function readOffset(formatter: Intl.DateTimeFormat, atMs: number): number {
  // '03/29/2026, 02:30:00'; the callers keep to years of four digits.
  const text = formatter.format(atMs);
  const part = (from: number, to: number): number => Number(text.slice(from, to));
  const local = Date.UTC(part(6, 10), part(0, 2) - 1, part(3, 5), part(12, 14), part(15, 17), part(18, 20));
  return local - Math.floor(atMs / 1_000) * 1_000;
}

/** The changes of a stretch, each `[instant, offset from then on]`. Two between looks that undo each other would be missed. */
function changesBetween(formatter: Intl.DateTimeFormat, fromMs: number, toMs: number): [number, number][] {
  const changes: [number, number][] = [];
  let known = readOffset(formatter, fromMs);
  for (let at = fromMs; at < toMs; at += LOOK_MS) {
    const after = readOffset(formatter, at + LOOK_MS);
    let low = at;
    while (known !== after) {
      // The first second whose offset is another one; there may be a second change behind it.
      let high = at + LOOK_MS;
      while (high - low > 1_000) {
        const middle = Math.floor((low + high) / 2_000) * 1_000;
        if (readOffset(formatter, middle) === known) low = middle;
        else high = middle;
      }
      known = readOffset(formatter, high);
      changes.push([high, known]);
      low = high;
    }
  }
  return changes;
}

function readChunk(name: string, index: number): readonly Segment[] {
  const formatter = formatterOf(name);
  const coreStart = index * CHUNK_MS;
  const coreEnd = coreStart + CHUNK_MS;
  const from = coreStart - MARGIN_MS;
  const changes = changesBetween(formatter, from, coreEnd + MARGIN_MS);
  const segments: Segment[] = [];
  let startMs = from;
  let beforeMs = readOffset(formatter, from);
  let offsetMs = beforeMs;
  for (const [endMs, afterMs] of changes) {
    segments.push({ startMs, endMs, offsetMs, beforeMs, afterMs });
    [startMs, beforeMs, offsetMs] = [endMs, offsetMs, afterMs];
  }
  // Cut at the chunk's end, where nothing changes: whoever goes on asks for the next chunk.
  if (startMs < coreEnd) segments.push({ startMs, endMs: coreEnd, offsetMs, beforeMs, afterMs: offsetMs });
  return segments.filter((segment) => segment.endMs > coreStart);
}

const UTC_SEGMENT: Segment = {
  startMs: Number.NEGATIVE_INFINITY,
  endMs: Number.POSITIVE_INFINITY,
  offsetMs: 0,
  beforeMs: 0,
  afterMs: 0,
};

/**
 * The stretch of one offset around an instant. Its ends are changes of the zone, or the end of what is read at a time.
 * @param name a zone that `checkZone` has let through
 * @param atMs epoch milliseconds between the years 1900 and 9999
 */
export function segmentAt(name: string, atMs: number): Segment {
  if (name === 'UTC') return UTC_SEGMENT;
  let zone = zones.get(name);
  if (!zone) {
    zone = new Map();
    makeRoom(zones, MOST_ZONES);
    zones.set(name, zone);
  }
  const index = Math.floor(atMs / CHUNK_MS);
  let chunk = zone.get(index);
  if (!chunk) {
    chunk = readChunk(name, index);
    makeRoom(zone, MOST_CHUNKS);
    zone.set(index, chunk);
  }
  for (const segment of chunk) if (atMs < segment.endMs) return segment;
  throw new RangeError(`no offset of ${name} at ${atMs}`);
}

/** `Intl` writes aliases as it likes, by its version: Asia/Kolkata as Asia/Calcutta. People find theirs again, in the usual letters. */
function spelled(name: string, known: string): string {
  return known === 'UTC' || known.toLowerCase() === name.toLowerCase() ? known : name;
}

/**
 * The zone's name, in the letters that `Intl` has for it.
 * @throws ConfigError `E_SCHEDULE` for a name that this Node does not know; offsets such as `+02:00` are no zones
 */
export function checkZone(name: unknown, what: string): string {
  if (typeof name !== 'string')
    throw new ConfigError('E_CONFIG_TYPE', `${what} must be the name of a time zone, not a ${typeof name}`);
  const checked = names.get(name);
  if (checked !== undefined) return checked;
  try {
    // Names that start otherwise are offsets, which some versions of Node take and some do not.
    if (/^[a-z]/i.test(name) && name.length <= LONGEST_NAME) {
      const known = spelled(name, new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone);
      makeRoom(names, MOST_NAMES);
      names.set(name, known);
      return known;
    }
  } catch {
    // not known: said below
  }
  throw new ConfigError(
    'E_SCHEDULE',
    `${what} is ${JSON.stringify(name.slice(0, LONGEST_NAME))}: use an IANA name such as 'Europe/Berlin' or 'UTC'`,
  );
}

/** How much is remembered, for the test of the caps. @internal */
export function zoneCacheSizes(): Readonly<Record<'names' | 'zones' | 'formatters' | 'mostChunks', number>> {
  return {
    names: names.size,
    zones: zones.size,
    formatters: formatters.size,
    mostChunks: Math.max(0, ...[...zones.values()].map((zone) => zone.size)),
  };
}
