/**
 * Between the seam's messages and what the AMQP client takes and gives. Hot: called once for every message both ways.
 */
import { isUtf8 } from 'node:buffer';
import type { Message, Options } from '../../clients/amqp.js';
import { WireError } from '../../core/errors.js';
import { fromAmqpProperties, toAmqpProperties } from '../../wire/amqp-message.js';
import type { WireMessage } from '../../wire/message.js';
import { RESENT_HEADER } from '../../wire/own-headers.js';
import { isBrokerMark } from '../../wire/task-message.js';
import type { Delivery } from '../broker.js';
import { isHolder } from './holders.js';
import { CLAIM_QUEUES } from './way-stations.js';

/**
 * How long the broker keeps a message past its `expires`. Celery sends the exact time, and then RabbitMQ drops the message and
 * its task stays PENDING for ever; with the margin a worker sees it, stores REVOKED ("expired") and the sender learns of it.
 */
const EXPIRY_MARGIN_MS = 3_600_000;
/** RabbitMQ closes the channel for more (49 days). The worker judges by the `expires` header, so such a message goes without. */
const LONGEST_TTL_MS = 4_294_967_295;

const PUBLISH_OPTIONS = { mandatory: true } as const;

/** Properties and body for publishing; `priority` replaces that of the message. */
export function encodeForQueue(
  message: WireMessage,
  priority: number | undefined,
  way: 'queue' | 'delay',
): { readonly content: Buffer; readonly options: Options.Publish } {
  const { properties, body } = toAmqpProperties(message);
  const options: Options.Publish = Object.assign(properties as Options.Publish, PUBLISH_OPTIONS);
  if (priority !== undefined) options.priority = priority;
  const { expiration } = properties;
  // In the delay ladder a TTL would end the wait early instead of the message.
  if (expiration !== undefined) {
    const ttlMs = Math.floor(Number(expiration) || 0) + EXPIRY_MARGIN_MS;
    options.expiration = way === 'delay' || ttlMs > LONGEST_TTL_MS ? undefined : String(Math.max(0, ttlMs));
  }
  return { content: body, options };
}

/** What a broken connection left unconfirmed is published again: whoever runs the second copy asks first whether the task is over. */
export function markResent(options: Options.Publish): Options.Publish {
  const headers = options.headers as Record<string, unknown> | undefined;
  return typeof headers?.['id'] === 'string' ? { ...options, headers: { ...headers, [RESENT_HEADER]: true } } : options;
}

/** In a copy: somebody may have had the message before. The broker's own flag says that of a delivery and is lost with a copy. */
export const REDELIVERED_HEADER = 'lovage_redelivered';
/** In a claim: which. */
export const CLAIM_HEADER = 'lovage_claim';
/** In a claim: whose (`holders.ts`). */
const HOLDER_HEADER = 'lovage_holder';
/** In a copy: how many workers died with the message. Not the engine's `lovage_losses`, which are executors of living workers. */
const DEATHS_HEADER = 'lovage_deaths';

/** Where none of these is, there is nothing to take off. */
const MARKS_TO_LOOK_FOR = ['x-death', 'x-delivery-count', REDELIVERED_HEADER, HOLDER_HEADER, DEATHS_HEADER] as const;
const OWN_MARKS: ReadonlySet<string> = new Set([REDELIVERED_HEADER, CLAIM_HEADER, HOLDER_HEADER, DEATHS_HEADER]);

/** A copy of a held message for the back of its queue: unchanged, its TTL included. */
export function encodeCopy(message: WireMessage): { readonly content: Buffer; readonly options: Options.Publish } {
  const { properties, body } = toAmqpProperties(message);
  return { content: body, options: Object.assign(properties as Options.Publish, PUBLISH_OPTIONS) };
}

/** A copy for a claim queue. Without its TTL: the task is running, so it has not expired, and the broker must not drop what we hold. */
export function encodeClaim(
  { message, losses }: Delivery,
  id: string,
  holder: string,
): { readonly content: Buffer; readonly options: Options.Publish } {
  const { content, options } = encodeCopy(redelivered(message, losses));
  Object.assign(options.headers as Record<string, unknown>, { [CLAIM_HEADER]: id, [HOLDER_HEADER]: holder });
  return { content, options: { ...options, expiration: undefined, deliveryMode: 2 } };
}

/** The message with the marks for copies. */
export function redelivered(message: WireMessage, losses: number): WireMessage {
  const deaths = losses > 0 ? { [DEATHS_HEADER]: losses } : undefined;
  return { ...message, headers: { ...message.headers, [REDELIVERED_HEADER]: true, ...deaths } };
}

/** What came in, or why it is no message. */
export type Decoded =
  | {
      readonly message: WireMessage;
      /** It has the mark for copies. */
      readonly redelivered: boolean;
      /** How many workers died with it, as its marks say. */
      readonly losses: number;
      /** Who had claimed it and neither settled it nor handed it back. */
      readonly holder: string | null;
      /** When that claim ended, by the broker's wall clock; `null` = it does not say. */
      readonly orphanedMs: number | null;
      /** How many returns of it a quorum queue has counted, which may drop it after one more. */
      readonly returns: number;
    }
  | { readonly raw: Buffer; readonly fault: WireError };

/** Reads a delivery. Marks that the broker put into the headers are taken off: they must not reach a task or its retry. */
export function decode(received: Message): Decoded {
  const { properties, content } = received;
  const headers = properties.headers as Record<string, unknown> | undefined;
  if (typeof properties.contentType !== 'string' || properties.contentType === '') {
    return { raw: content, fault: new WireError('E_DECODE', 'the message has no content type: no Celery client wrote it') };
  }
  // The client assigns header names to a plain object, so a header called __proto__ becomes its prototype.
  if (headers && Object.getPrototypeOf(headers) !== Object.prototype) {
    return { raw: content, fault: new WireError('E_DECODE', 'the message has a header called __proto__') };
  }
  let marked = false;
  let returns = 0;
  let losses = 0;
  let holder: string | null = null;
  let orphanedMs: number | null = null;
  if (headers && MARKS_TO_LOOK_FOR.some((mark) => mark in headers)) {
    marked = headers[REDELIVERED_HEADER] === true;
    returns = countOf(headers['x-delivery-count']);
    if (marked) {
      losses = countOf(headers[DEATHS_HEADER]);
      holder = holderIn(headers);
      orphanedMs = holder === null ? null : orphanedAt(headers['x-death']);
    }
    for (const name of Object.keys(headers)) if (isBrokerMark(name) || OWN_MARKS.has(name)) delete headers[name];
  }
  const message = fromAmqpProperties(properties, content);
  // Text, or bytes of their own: the content is a window on a receive buffer of up to 64 KiB that would be kept, and copied whole to another thread.
  const body = isUtf8(content)
    ? ({ encoding: 'utf8', data: content.toString('utf8') } as const)
    : ({ encoding: 'binary', data: Uint8Array.prototype.slice.call(content) } as const);
  return { message: { ...message, body }, redelivered: marked, losses, holder, orphanedMs, returns };
}

/** Headers are hostile like all others: anything but a count is none. */
const countOf = (value: unknown): number => (Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0);

/**
 * A claim comes back by the way of dead letters, and the broker notes why: `rejected` = its holder handed it back and is out of it.
 * Without such a note it is no claim that came back, and somebody copied its headers.
 */
function holderIn(headers: Readonly<Record<string, unknown>>): string | null {
  const holder = headers[HOLDER_HEADER];
  const reason = headers['x-first-death-reason'];
  return isHolder(holder) && typeof reason === 'string' && reason !== 'rejected' ? holder : null;
}

/** The broker writes whole seconds, cut off: a second is added, so that nobody is taken for gone longer than he is. */
function orphanedAt(deaths: unknown): number | null {
  const found = (Array.isArray(deaths) ? deaths : []).find(
    (death) => death?.reason === 'expired' && typeof death.queue === 'string' && death.queue.startsWith(CLAIM_QUEUES),
  );
  const seconds = found?.time?.value;
  return typeof seconds === 'number' ? (seconds + 1) * 1_000 : null;
}

/** A delivery that is no message, as it came, for the dead letters. */
export function rawCopy(received: Message): { readonly content: Buffer; readonly options: Options.Publish } {
  const { headers, contentType, contentEncoding, correlationId, replyTo, priority, messageId, type, appId } = received.properties;
  const options = {
    headers: { ...headers },
    contentType,
    contentEncoding,
    correlationId,
    replyTo,
    priority,
    messageId,
    type,
    appId,
  };
  return { content: received.content, options };
}
