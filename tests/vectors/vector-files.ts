/**
 * Loads the recordings and takes them apart: every recorded piece becomes a unit of a known kind. The walk knows pieces by
 * their shape and not by file name, so a new recording is used without a list being edited, or fails the coverage test.
 */
import { readdirSync, readFileSync } from 'node:fs';

export interface Vector {
  readonly name: string;
  readonly recorded_from: string;
  readonly transport: 'redis' | 'amqp';
  readonly given: string;
  readonly wire: Readonly<Record<string, unknown>>;
  readonly varies: readonly string[];
}

/** An AMQP message as recorded. */
export interface AmqpRecord {
  readonly exchange: string;
  readonly routing_key: string;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly header_field_types?: Readonly<Record<string, unknown>>;
  readonly properties_frame_base64?: string;
  readonly body_base64: string;
  readonly body_text?: string;
}

interface UnitBase {
  /** File and place, for test names. */
  readonly where: string;
  readonly vector: Vector;
}

export type Unit =
  /** A Redis list element or published payload: an envelope. */
  | (UnitBase & { readonly kind: 'envelope'; readonly raw: string; readonly bodyText: string | undefined })
  /** A value of the hash `unacked`: `[envelope, exchange, routing key]`. */
  | (UnitBase & { readonly kind: 'unacked'; readonly tag: string; readonly raw: string })
  | (UnitBase & { readonly kind: 'amqp'; readonly record: AmqpRecord })
  /** A stored or published result of a task. */
  | (UnitBase & { readonly kind: 'meta'; readonly id: string; readonly text: string })
  /** A stored group, a chord counter, a member of a chord's list: JSON without a codec of its own here. */
  | (UnitBase & { readonly kind: 'json'; readonly text: string })
  /** A member of a `_kombu.binding.*` set. */
  | (UnitBase & { readonly kind: 'binding'; readonly exchange: string; readonly member: string })
  | (UnitBase & { readonly kind: 'unacked-index'; readonly members: readonly (readonly [string, number])[] })
  /** An odd message sent to a Python worker, and what came of it. */
  | (UnitBase & {
      readonly kind: 'odd';
      readonly element: string | null;
      readonly record: AmqpRecord | null;
      readonly observed: Observed;
    })
  | (UnitBase & { readonly kind: 'topology'; readonly topology: Topology })
  | (UnitBase & { readonly kind: 'reply-queue'; readonly queue: Readonly<Record<string, unknown>> })
  /** A command that a Python node sent to Redis; long ones are cut. */
  | (UnitBase & { readonly kind: 'command'; readonly command: string });

export interface Observed {
  readonly worker_survived: boolean;
  readonly result_db1: Readonly<Record<string, { readonly json: { readonly status: string } }>>;
}

export interface Topology {
  readonly exchanges: readonly { readonly name: string; readonly type: string; readonly durable: boolean }[];
  readonly queues: readonly {
    readonly name: string;
    readonly durable: boolean;
    readonly auto_delete: boolean;
    readonly arguments: Readonly<Record<string, unknown>>;
  }[];
  readonly bindings: readonly {
    readonly source: string;
    readonly destination: string;
    readonly destination_type: string;
    readonly routing_key: string;
  }[];
}

const FOLDER = new URL('./', import.meta.url);

/** The units of one kind. */
export function unitsOfKind<K extends Unit['kind']>(kind: K): readonly Extract<Unit, { kind: K }>[] {
  return UNITS.filter((unit): unit is Extract<Unit, { kind: K }> => unit.kind === kind);
}

/** Keys under which a recording holds something for us to read. Each occurrence must end up in a unit. */
export const RECORDED_KEYS: ReadonlySet<string> = new Set([
  'raw',
  'value',
  'data',
  'body_base64',
  'fields',
  'members',
  'element',
  'topology',
]);

/** Parsed forms, which repeat what `raw`, `value` and the like hold. */
export const PARSED_KEYS: ReadonlySet<string> = new Set(['envelope', 'json', 'body_json', 'python_return_value']);

export const VECTORS: readonly Vector[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.json'))
  .sort()
  .map((file) => JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as Vector);

export const UNITS: readonly Unit[] = VECTORS.flatMap((vector) => [...unitsOf(vector, vector.wire, [])]);

type Json = Readonly<Record<string, unknown>>;

function* unitsOf(vector: Vector, node: unknown, path: readonly string[]): Generator<Unit> {
  if (Array.isArray(node)) {
    for (const [index, item] of node.entries()) yield* unitsOf(vector, item, [...path, String(index)]);
    return;
  }
  if (typeof node !== 'object' || node === null) return;
  const record = node as Json;
  const base: UnitBase = { vector, where: `${vector.name}: ${path.join(' > ')}` };
  const key = path.at(-1) ?? '';

  if (typeof record.raw === 'string')
    yield { ...base, kind: 'envelope', raw: record.raw, bodyText: record.body_text as string | undefined };
  else if (typeof record.body_base64 === 'string' && key !== 'sent')
    yield { ...base, kind: 'amqp', record: record as unknown as AmqpRecord };
  else if (typeof record.channel === 'string' && typeof record.data === 'string') yield stored(base, record.channel, record.data);
  else if (record.type === 'string' && typeof record.value === 'string') yield stored(base, key, record.value);
  else if (record.type === 'hash') {
    for (const [tag, raw] of Object.entries(record.fields as Record<string, string>))
      yield { ...base, kind: 'unacked', tag, raw };
  } else if (record.type === 'set') {
    for (const member of record.members as string[])
      yield { ...base, kind: 'binding', exchange: key.replace(/^.*_kombu\.binding\./, ''), member };
  } else if (record.type === 'zset') {
    const members = record.members as [string, number][];
    if (key.endsWith('unacked_index')) yield { ...base, kind: 'unacked-index', members };
    else for (const [text] of members) yield { ...base, kind: 'json', text };
  } else if ('sent' in record && 'observed' in record) {
    const sent = record.sent as Json;
    yield {
      ...base,
      kind: 'odd',
      element: typeof sent.element === 'string' ? sent.element : null,
      record: typeof sent.body_base64 === 'string' ? (sent as unknown as AmqpRecord) : null,
      observed: record.observed as Observed,
    };
  } else if (key === 'topology') yield { ...base, kind: 'topology', topology: record as unknown as Topology };
  else if (path[0] === 'reply_queue' && path.length === 2) yield { ...base, kind: 'reply-queue', queue: record };

  for (const [name, value] of Object.entries(record)) {
    if (vector.name === 'b-redis-command-log') {
      for (const [, , command] of value as [string, number, string][])
        yield { ...base, kind: 'command', where: `${vector.name}: ${name}`, command };
    } else if (!PARSED_KEYS.has(name)) yield* unitsOf(vector, value, [...path, name]);
  }
}

function stored(base: UnitBase, key: string, text: string): Unit {
  const id = /celery-task-meta-(.+)$/.exec(key)?.[1];
  return id === undefined ? { ...base, kind: 'json', text } : { ...base, kind: 'meta', id, text };
}
