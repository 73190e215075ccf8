/**
 * Messages built from the call in `given`, not from what was recorded: our `send` and Python's `apply_async` with the same
 * arguments must be the same message, reprs included.
 */
import { describe, expect, test } from 'vitest';
import { fromAmqpProperties, toAmqpProperties } from '../../src/wire/amqp-message.js';
import { parseIsoMs } from '../../src/wire/iso-time.js';
import type { WireMessage } from '../../src/wire/message.js';
import { decodeEnvelope, encodeEnvelope } from '../../src/wire/redis-envelope.js';
import { decodeBody } from '../../src/wire/serializers/registry.js';
import {
  decodeTaskBody,
  type EncodeTaskOptions,
  encodeTaskMessage,
  retrySuccessor,
  type TaskCall,
} from '../../src/wire/task-message.js';
import { WireDate, WireDecimal, WireTime, WireUuid } from '../../src/wire/typed-values.js';
import { decodeProperties } from './amqp-frames.js';
import { cutToMilliseconds, exact } from './compare.js';
import { textOf } from './message-checks.js';
import { UNITS, type Unit, VECTORS } from './vector-files.js';

interface Case extends Partial<TaskCall> {
  readonly task?: string;
  /** Headers of which the recorded value is taken, because it hangs on the time of the recording. */
  readonly recorded?: readonly ('eta' | 'expires' | 'argsrepr' | 'kwargsrepr')[];
  readonly options?: Partial<EncodeTaskOptions>;
}

const ADD = { task: 'wire.add', args: [2, 2] } as const;
const ECHO = { task: 'wire.echo' } as const;
const FROM_GROUP: Case = {
  ...ADD,
  rootId: '00000900-0000-4000-8000-000000000900',
  parentId: '00000901-0000-4000-8000-000000000901',
  groupId: '00000902-0000-4000-8000-000000000902',
  groupIndex: 4,
  retries: 2,
  replyTo: 'replyq',
  origin: 'me@host',
};
const TYPED = [
  new Date('2024-02-29T13:05:06.000Z'),
  new Date('2024-02-29T13:05:06Z'),
  new WireDate('2024-02-29'),
  new WireTime('13:05:06.000789'),
];
const UUID = new WireUuid('12345678-1234-5678-1234-567812345678');

/** By the name of the recording without its version and transport. */
const CALLS: Readonly<Record<string, Case>> = {
  'add-delay': ADD,
  'argsrepr-custom': { ...ADD, argsrepr: '(***)', kwargsrepr: '{}' },
  // where Python cuts inside a list is of no account; that we cut is tested beside the code
  'argsrepr-truncated': {
    ...ECHO,
    args: [Array.from({ length: 1000 }, (_, i) => i)],
    kwargs: { s: 'x'.repeat(3000) },
    recorded: ['argsrepr', 'kwargsrepr'],
  },
  countdown: { ...ADD, recorded: ['eta'] },
  'eta-aware': { ...ADD, eta: '2030-01-01T12:00:00+02:00' },
  'eta-naive': { ...ADD, eta: '2030-01-01T12:00:00' },
  'expires-datetime': { ...ADD, recorded: ['expires'] },
  'expires-past': { ...ADD, expires: new Date('2020-01-01T00:00:00Z'), options: { nowMs: Date.UTC(2026, 10, 21) } },
  'expires-seconds': { ...ADD, recorded: ['expires'] },
  gzip: { ...ADD, options: { compression: 'gzip' } },
  'headers-custom': { ...ADD, headers: { 'x-tenant': 'acme', n: 1 } },
  'ignore-result': { ...ADD, ignoreResult: true },
  'json-types': {
    ...ECHO,
    args: [...TYPED, UUID, new WireDecimal('1.10'), Buffer.from('abc'), Uint8Array.of(0xff, 0), [1, 2]],
    recorded: ['argsrepr'],
  },
  '526 json-types': { ...ECHO, args: [...TYPED, UUID, new WireDecimal('1.10'), [1, 2]], recorded: ['argsrepr'] },
  kwargs: { ...ECHO, args: [1, null, true], kwargs: { a: 'b', n: null, l: [1.5, {}] } },
  msgpack: { ...ECHO, args: ['a', 1, null], kwargs: { k: [1, 2] }, options: { serializer: 'msgpack' } },
  noargs: { ...ECHO, args: [] },
  numbers: { ...ECHO, args: [1, 1.0, -0, 9007199254740993n, Number.NaN, Number.POSITIVE_INFINITY], recorded: ['argsrepr'] },
  'parent-root': FROM_GROUP,
  'priority-3': { ...ADD, priority: 3 },
  'priority-5': { ...ADD, priority: 5 },
  'priority-9': { ...ADD, priority: 9 },
  'send-task-by-name': { task: 'other.module.task', args: [1], kwargs: { k: 2 } },
  shadow: { ...ADD, shadow: 'shown.name' },
  timelimits: { ...ADD, timeLimitMs: 30_000, softTimeLimitMs: 20_500 },
  unicode: { ...ECHO, args: ['héllo ☃ 𝄞'], kwargs: { ключ: 'значение' } },
  yaml: { ...ECHO, args: ['a', 1, null], kwargs: { k: [1, 2] }, options: { serializer: 'yaml' } },
};

/** Recordings of area a that are no plain call of a client. */
const OTHERS: Readonly<Record<string, string>> = {
  pickle: 'never written; that it is refused is in message-checks.ts',
  protocol1: 'never written; that it is read is in message-checks.ts',
  reqdump: 'a stored result: results.test.ts',
  'worker-retry': 'built by retrySuccessor, below',
};

const shortName = (name: string): string => name.replace(/^a-(?:526-)?(?:amqp|redis)-/, '');
const AREA_A = VECTORS.filter((vector) => vector.name.startsWith('a-'));

function recordedMessage(unit: Unit): {
  readonly message: WireMessage;
  readonly to: { readonly exchange: string; readonly routingKey: string };
} {
  if (unit.kind === 'envelope') {
    const decoded = decodeEnvelope(unit.raw);
    return { message: decoded.message, to: decoded };
  }
  if (unit.kind !== 'amqp') throw new Error(`${unit.where} is no message`);
  const { record } = unit;
  const frame = Buffer.from(record.properties_frame_base64 ?? '', 'base64');
  const message = fromAmqpProperties(decodeProperties(frame), Buffer.from(record.body_base64, 'base64'));
  return { message, to: { exchange: record.exchange, routingKey: record.routing_key } };
}

describe('a call makes the message that Celery made of it', () => {
  const built = AREA_A.filter((vector) => !(shortName(vector.name) in OTHERS));

  test.each(built)('$name', (vector) => {
    const is526 = vector.recorded_from.includes('5.2');
    const short = shortName(vector.name);
    const given = (is526 ? CALLS[`526 ${short}`] : undefined) ?? CALLS[short];
    if (given === undefined) throw new Error(`no call is written down for ${vector.name}: ${vector.given}`);
    const units = UNITS.filter((unit) => unit.vector === vector && (unit.kind === 'envelope' || unit.kind === 'amqp'));
    expect(units).toHaveLength(1);
    const { message } = recordedMessage(units[0] as Unit);

    const { recorded = [], options, ...call } = given;
    const taken = Object.fromEntries(recorded.map((name) => [name, message.headers[name]]));
    const expiresMs = parseIsoMs(String(taken.expires)) ?? 0;
    const made = encodeTaskMessage(
      {
        task: '',
        args: [],
        kwargs: {},
        id: String(message.headers.id),
        origin: String(message.headers.origin),
        replyTo: message.properties.reply_to ?? '',
        ...call,
        ...taken,
      },
      { nowMs: expiresMs - Number(message.properties.expiration), json: is526 ? 'plain' : 'tagged', lang: 'py', ...options },
    );
    const added = is526 ? { replaced_task_nesting: 0, stamped_headers: null, stamps: {} } : {};
    expect(made.headers).toEqual({ ...message.headers, ...added });
    expect(Object.keys(made.headers).slice(0, 16)).toEqual(Object.keys(message.headers).slice(0, 16));
    expect(made.properties).toEqual(message.properties);
    if (made.contentType === 'application/json' && options?.compression === undefined) {
      const body = cutToMilliseconds(exact(textOf(message)));
      expect(exact(textOf(made))).toEqual(short === 'json-types' ? withoutMicroseconds(body, is526) : body);
    } else {
      const accept = ['json', 'msgpack', 'yaml'] as const;
      expect(decodeBody(made, { accept })).toEqual(decodeBody(message, { accept }));
      if (made.contentType === 'application/x-msgpack')
        expect(toAmqpProperties(made).body).toEqual(toAmqpProperties(message).body);
    }
  });

  test('every recording of area a is built here or named with the reason', () => {
    const names = new Set(AREA_A.map((vector) => shortName(vector.name)));
    const covered = new Set([...Object.keys(CALLS).map((name) => name.replace('526 ', '')), ...Object.keys(OTHERS)]);
    expect([...names].sort()).toEqual([...covered].sort());
  });
});

/** The recorded naive time has 789 microseconds, which a Date cannot hold. */
function withoutMicroseconds(body: unknown, plain: boolean): unknown {
  const [args, ...rest] = body as [unknown[], ...unknown[]];
  const first = plain ? '2024-02-29T13:05:06Z' : { __type__: 'datetime', __value__: '2024-02-29T13:05:06+00:00' };
  return [[first, ...args.slice(1)], ...rest];
}

describe('a retry is the message that a Python worker sends', () => {
  const retries = VECTORS.filter((vector) => shortName(vector.name) === 'worker-retry');

  test.each(retries)('$name', (vector) => {
    const unit = UNITS.find((candidate) => candidate.vector === vector && candidate.kind === 'envelope') as Unit;
    const { message, to } = recordedMessage(unit);
    const { args, kwargs } = decodeTaskBody(message);
    const original = encodeTaskMessage(
      {
        task: 'wire.retry_noexc',
        id: String(message.headers.id),
        args,
        kwargs,
        origin: String(message.headers.origin),
        replyTo: message.properties.reply_to ?? '',
      },
      { nowMs: 0, lang: 'py' },
    );
    const marked = { ...original, headers: { ...original.headers, redelivered: true, 'x-death': [{ count: 1 }] } };
    const successor = retrySuccessor(marked, { nowMs: 0, etaMs: parseIsoMs(String(message.headers.eta)) });
    const again = decodeEnvelope(encodeEnvelope(successor, { ...to, deliveryTag: 'tag' })).message;
    const { eta, ...headers } = message.headers;
    expect(parseIsoMs(String(again.headers.eta))).toBe(parseIsoMs(String(eta)));
    expect(again.headers).toMatchObject(headers);
    expect(again.headers).not.toHaveProperty('redelivered');
    expect(again.headers).not.toHaveProperty('x-death');
    expect(again.properties).toEqual(message.properties);
    expect(decodeBody(again)).toEqual(decodeBody(message));
  });
});
