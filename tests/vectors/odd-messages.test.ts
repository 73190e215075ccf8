/** Messages that make a Python worker complain, drop or exit: what we make of each of them. */
import { describe, expect, test } from 'vitest';
import type { ErrorCode } from '../../src/core/error-codes.js';
import { codeOf } from '../../src/core/errors.js';
import { fromAmqpProperties } from '../../src/wire/amqp-message.js';
import type { WireMessage } from '../../src/wire/message.js';
import { decodeEnvelope } from '../../src/wire/redis-envelope.js';
import type { DecodeBodyOptions } from '../../src/wire/serializers/registry.js';
import { decodeTaskBody, readTaskHeaders, upgradeProtocol1 } from '../../src/wire/task-message.js';
import { unitsOfKind } from './vector-files.js';

/** `runs`, or the code with which it is refused and hence parked. */
const EXPECTED: Readonly<Record<string, 'runs' | ErrorCode>> = {
  'bad-eta': 'E_DECODE',
  'bad-expires': 'E_DECODE',
  'body-empty': 'E_DECODE',
  'body-not-json': 'E_DECODE',
  'body-object': 'E_DECODE',
  'compress-bad': 'E_COMPRESSION',
  'embed-empty': 'runs',
  'eta-js': 'runs',
  'eta-z': 'runs',
  'lang-js': 'runs',
  minimal: 'runs',
  'no-ctype': 'E_CONTENT_REFUSED',
  'no-task': 'E_DECODE',
  pickle: 'E_CONTENT_REFUSED',
  proto1: 'runs',
  'timelimit-null': 'runs',
  'unknown-ctype': 'E_CONTENT_REFUSED',
  // the message is sound; that the arguments do not fit is found when the task is called
  'wrong-args': 'runs',
  yaml: 'E_CONTENT_REFUSED',
};

/** The way of a worker: headers, protocol 1 if there are none, body. */
function outcome(message: WireMessage, options?: DecodeBodyOptions): string {
  try {
    const current = readTaskHeaders(message) === null ? upgradeProtocol1(message, options) : message;
    expect(readTaskHeaders(current)?.task).toBe('wire.add');
    decodeTaskBody(current, options);
    return 'runs';
  } catch (error) {
    return codeOf(error) ?? String(error);
  }
}

function messageOf(unit: ReturnType<typeof unitsOfKind<'odd'>>[number]): WireMessage {
  if (unit.element !== null) return decodeEnvelope(unit.element).message;
  const record = unit.record as NonNullable<typeof unit.record>;
  const { content_type, content_encoding, correlation_id, reply_to, delivery_mode, priority } = record.properties;
  const properties = {
    headers: record.headers,
    contentType: content_type,
    contentEncoding: content_encoding,
    correlationId: correlation_id,
    replyTo: reply_to,
    deliveryMode: delivery_mode,
    priority,
  };
  return fromAmqpProperties(properties, Buffer.from(record.body_base64, 'base64'));
}

const nameOf = (vector: string): string => vector.replace(/^h-(?:amqp|redis)-bad-/, '');

describe('odd messages sent to a Python worker', () => {
  test.each(unitsOfKind('odd'))('$vector.name', (unit) => {
    const expected = EXPECTED[nameOf(unit.vector.name)];
    expect(outcome(messageOf(unit))).toBe(expected);
    const python = Object.values(unit.observed.result_db1).map(({ json }) => json.status);
    // whatever Python runs, we run; what kills its worker is refused here
    if (python.includes('SUCCESS')) expect(expected).toBe('runs');
    if (!unit.observed.worker_survived) expect(expected).not.toBe('runs');
  });

  test('every case of the table was recorded', () => {
    expect([...new Set(unitsOfKind('odd').map((unit) => nameOf(unit.vector.name)))].sort()).toEqual(Object.keys(EXPECTED).sort());
  });

  test('yaml runs when it is turned on, pickle never does', () => {
    const accept = ['json', 'msgpack', 'yaml'] as const;
    for (const unit of unitsOfKind('odd')) {
      const name = nameOf(unit.vector.name);
      if (name === 'yaml') expect(outcome(messageOf(unit), { accept })).toBe('runs');
      if (name === 'pickle') expect(outcome(messageOf(unit), { accept })).toBe('E_CONTENT_REFUSED');
    }
  });
});
