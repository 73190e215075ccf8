/**
 * What is checked of every recorded message, whatever broker carried it: it is read as what it is, and written again it is the
 * same message for Python.
 */
import { expect } from 'vitest';
import {
  decodeControlReply,
  decodeControlRequest,
  encodeControlReply,
  encodeControlRequest,
} from '../../src/wire/control-message.js';
import { decodeEvents, EVENT_BATCH_KEY, EVENT_EXCHANGE, encodeEvent, encodeEventBatch } from '../../src/wire/event-message.js';
import { isoFromMs, parseIsoMs } from '../../src/wire/iso-time.js';
import type { WireMessage } from '../../src/wire/message.js';
import { decodeResultMeta, encodeRpcMeta } from '../../src/wire/result-meta.js';
import { encodeJson, textOfUtf8 } from '../../src/wire/serializers/json.js';
import { bytesOf, decodeBody, type SerializerName } from '../../src/wire/serializers/registry.js';
import { makeSignature, parseSignature, parseSignatures } from '../../src/wire/signature.js';
import {
  decodeTaskBody,
  encodeTaskMessage,
  readTaskHeaders,
  upgradeProtocol1,
  userHeaders,
} from '../../src/wire/task-message.js';
import { cutToMilliseconds, exact } from './compare.js';
import type { Vector } from './vector-files.js';

const ALL: readonly SerializerName[] = ['json', 'msgpack', 'yaml'];
const SERIALIZERS: Readonly<Record<string, SerializerName>> = {
  'application/json': 'json',
  'application/x-msgpack': 'msgpack',
  'application/x-yaml': 'yaml',
};

/** Reads a message, whatever it is, writes it again and compares. */
export function checkMessage(
  message: WireMessage,
  to: { readonly exchange: string; readonly routingKey: string },
  vector: Vector,
): void {
  if (to.exchange === EVENT_EXCHANGE) checkEvents(message, to);
  else if (to.exchange.startsWith('reply.') && to.exchange.endsWith('.pidbox')) checkReply(message, to, vector);
  else if (to.exchange.endsWith('.pidbox')) checkRequest(message, to);
  else if (message.headers.task === undefined && isRpcResult(message)) checkRpcResult(message);
  else if (message.contentType === 'application/x-python-serialize') {
    expect(readTaskHeaders(message)).not.toBeNull();
    expect(() => decodeTaskBody(message, { accept: ALL })).toThrow(expect.objectContaining({ code: 'E_CONTENT_REFUSED' }));
  } else if (message.headers.task === undefined) checkProtocol1(message);
  else checkTask(message, vector);
}

function isRpcResult(message: WireMessage): boolean {
  const body = decodeBody(message);
  return typeof body === 'object' && body !== null && 'status' in body;
}

function checkTask(message: WireMessage, vector: Vector): void {
  const headers = readTaskHeaders(message);
  if (headers === null) throw new Error('the message has no task header');
  const body = decodeTaskBody(message, { accept: ALL });
  const { callbacks, errbacks, chain, chord } = body.embed;
  for (const part of [callbacks, errbacks, chain, chord]) checkSignatures(part);

  const recordedHeaders = message.headers;
  const own = userHeaders(recordedHeaders);
  const is526 = vector.recorded_from.includes('5.2');
  // the eta of a retry waits in the header; a header that is a time must be one for us
  for (const name of ['eta', 'expires'] as const) {
    const recorded = recordedHeaders[name];
    const read = name === 'eta' ? headers.etaMs : headers.expiresMs;
    expect(read === null).toBe(recorded === null);
    if (typeof recorded === 'string' && read !== null) expect(parseIsoMs(isoFromMs(read))).toBe(parseIsoMs(recorded));
  }
  const serializer = SERIALIZERS[message.contentType] as SerializerName;
  const expiresMs = headers.expiresMs ?? 0;
  const again = encodeTaskMessage(
    {
      task: headers.task,
      id: headers.id,
      args: body.args,
      kwargs: body.kwargs,
      callbacks,
      errbacks,
      chain,
      chord,
      eta: recordedHeaders.eta as string | null,
      expires: recordedHeaders.expires as string | null,
      retries: headers.retries,
      timeLimitMs: headers.timeLimitMs,
      softTimeLimitMs: headers.softTimeLimitMs,
      rootId: headers.rootId,
      parentId: headers.parentId,
      groupId: headers.groupId,
      groupIndex: headers.groupIndex,
      shadow: headers.shadow,
      ignoreResult: headers.ignoreResult,
      replyTo: headers.replyTo,
      ...(headers.origin === null ? {} : { origin: headers.origin }),
      priority: message.properties.priority ?? 0,
      headers: own,
      stampedHeaders: headers.stampedHeaders,
      stamps: headers.stamps,
      replacedTaskNesting: headers.replacedTaskNesting,
      ...(message.properties.delivery_mode === undefined ? {} : { deliveryMode: message.properties.delivery_mode }),
      argsrepr: headers.argsrepr,
      kwargsrepr: headers.kwargsrepr,
    },
    {
      nowMs: message.properties.expiration === undefined ? 0 : expiresMs - Number(message.properties.expiration),
      serializer,
      lang: String(recordedHeaders.lang),
      compression: recordedHeaders.compression === undefined ? null : 'gzip',
      json: is526 ? 'plain' : 'tagged',
    },
  );
  const { redelivered: _mark, ...expected } = withoutBrokerMarks(recordedHeaders);
  expect(again.headers).toEqual(is526 ? { ...expected, replaced_task_nesting: 0, stamped_headers: null, stamps: {} } : expected);
  // to a topic exchange Celery sets neither mode nor priority; we send persistent
  expect(again.properties).toEqual({ delivery_mode: 2, priority: 0, ...message.properties });
  expect([again.contentType, again.contentEncoding]).toEqual([message.contentType, message.contentEncoding]);

  if (serializer === 'json') {
    if (recordedHeaders.compression === undefined) {
      expect(exact(textOf(again))).toEqual(cutToMilliseconds(exact(textOf(message))));
    } else expect(decodeBody(again)).toEqual(decodeBody(message));
  } else expect(decodeBody(again, { accept: ALL })).toEqual(decodeBody(message, { accept: ALL }));
}

function withoutBrokerMarks(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const known = userHeaders(headers);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith('x-') || name in known));
}

/** A signature, an array of them, or null; and all that are inside. */
function checkSignatures(value: unknown): void {
  if (value === null || value === undefined) return;
  const recorded = Array.isArray(value) ? (value as unknown[]) : [value];
  expect(parseSignatures(value)).toEqual(recorded);
  for (const signature of parseSignatures(value)) {
    const { chord_size: _old, ...parts } = signature;
    expect(makeSignature(signature.task, signature)).toEqual(parts);
    expect(parseSignature(parts)).toEqual(parts);
    const { options, kwargs } = signature;
    for (const inner of [options.link, options.link_error, options.chord, kwargs.tasks, kwargs.header, kwargs.body])
      checkSignatures(inner);
  }
}

function checkProtocol1(message: WireMessage): void {
  const body = decodeBody(message) as Record<string, unknown>;
  const upgraded = upgradeProtocol1(message);
  const headers = readTaskHeaders(upgraded);
  expect(headers).toMatchObject({
    task: body.task,
    id: body.id,
    retries: body.retries,
    groupId: body.taskset ?? null,
    rootId: body.id,
  });
  expect(headers?.etaMs ?? null).toBe(typeof body.eta === 'string' ? parseIsoMs(body.eta) : null);
  expect(decodeTaskBody(upgraded)).toMatchObject({
    args: body.args,
    kwargs: body.kwargs,
    embed: { chain: null, chord: body.chord ?? null },
  });
  expect(upgraded.properties).toBe(message.properties);
}

function checkRpcResult(message: WireMessage): void {
  const text = textOf(message);
  const meta = decodeResultMeta(text);
  expect(meta.taskId).toBe(message.properties.correlation_id);
  const again = encodeRpcMeta({ ...meta, resultJson: encodeJson(meta.result), children: meta.childTree });
  expect(exact(again)).toEqual(exact(text));
}

function checkEvents(message: WireMessage, to: { readonly exchange: string; readonly routingKey: string }): void {
  const { events, refused } = decodeEvents(message);
  expect(refused).toBe(0);
  const hostname = String(message.headers.hostname);
  const first = events[0];
  const again =
    to.routingKey === EVENT_BATCH_KEY ? encodeEventBatch(events, { hostname }) : encodeEvent(first as NonNullable<typeof first>);
  expect(again.exchange).toBe(to.exchange);
  expect(again.routingKey).toBe(to.routingKey);
  expectSame(again.message, message);
  expect(message.properties.delivery_mode).toBe(1);
}

function checkRequest(message: WireMessage, to: { readonly exchange: string; readonly routingKey: string }): void {
  const again = encodeControlRequest(decodeControlRequest(message));
  expect({ exchange: again.exchange, routingKey: again.routingKey }).toEqual({
    exchange: to.exchange,
    routingKey: to.routingKey,
  });
  expectSame(again.message, message);
}

function checkReply(message: WireMessage, to: { readonly exchange: string; readonly routingKey: string }, vector: Vector): void {
  const { ticket, clock, answers } = decodeControlReply(message);
  expect(answers).toHaveLength(1);
  for (const [node, value] of answers) {
    const again = encodeControlReply(node, value, { ticket: String(ticket), clock, replyTo: to });
    expect({ exchange: again.exchange, routingKey: again.routingKey }).toEqual({
      exchange: to.exchange,
      routingKey: to.routingKey,
    });
    expectSame(again.message, message);
    // what Python's own client made of the reply
    const returned = vector.wire.python_return_value;
    if (Array.isArray(returned)) expect(returned).toContainEqual({ [node]: value });
    else if (returned !== null) expect(returned).toMatchObject({ [node]: value });
  }
}

function expectSame(again: WireMessage, recorded: WireMessage): void {
  expect(again.headers).toEqual(recorded.headers);
  expect(again.properties).toEqual(recorded.properties);
  expect([again.contentType, again.contentEncoding]).toEqual([recorded.contentType, recorded.contentEncoding]);
  expect(exact(textOf(again))).toEqual(exact(textOf(recorded)));
}

/** The body as text, not yet parsed. */
export function textOf(message: WireMessage): string {
  return textOfUtf8(bytesOf(message.body));
}
