/**
 * A dead letter as a message of `lovage.dead`: the parked message as it was, with what is known of it in headers of ours.
 * Both directions, and the one odd form: a message whose headers no copy can carry, wrapped whole into a JSON document.
 */
import { createHash } from 'node:crypto';
import type { Message, Options } from '../../clients/amqp.js';
import { fromAmqpProperties } from '../../wire/amqp-message.js';
import type { WireMessage } from '../../wire/message.js';
import { bytesOf } from '../../wire/serializers/registry.js';
import type { Arrival, ParkReason } from '../broker.js';
import {
  type DeadFacts,
  type DeadLetter,
  type DeadLetterContent,
  deadFacts,
  historyOf,
  newDeadLetterId,
  taskOf,
} from '../dead-letters.js';
import { decode } from './codec.js';

/** Headers that a parked message gets in addition to its own. */
export const DEAD_HEADERS = {
  id: 'lovage_dead_id',
  code: 'lovage_dead_code',
  reason: 'lovage_dead_reason',
  queue: 'lovage_dead_queue',
  at: 'lovage_dead_at',
  by: 'lovage_dead_by',
  losses: 'lovage_dead_losses',
  redelivered: 'lovage_dead_redelivered',
  garbage: 'lovage_dead_garbage',
} as const;

const MARKS: ReadonlySet<string> = new Set(Object.values(DEAD_HEADERS));

/** The content type of a parked message whose headers are larger than a copy can carry: all of it as one JSON document. */
export const WRAPPED_CONTENT_TYPE = 'application/vnd.lovage.message+json';

interface Outgoing {
  readonly content: Buffer;
  readonly options: Options.Publish;
}

/** What is written on a message that is being parked. Made once, so that a copy that is tried again stays one letter. */
export interface Parking {
  readonly id: string;
  readonly at: string;
  readonly facts: DeadFacts;
  readonly isGarbage: boolean;
}

export function parking(arrival: Arrival, reason: ParkReason, parkedBy: string | null, nowMs: number): Parking {
  return {
    id: newDeadLetterId(nowMs),
    at: new Date(nowMs).toISOString(),
    facts: deadFacts(arrival, reason, parkedBy),
    isGarbage: arrival.kind === 'garbage',
  };
}

/** The copy of a message for the dead letters: body and properties as they were, the facts in headers. */
export function encodeDead(original: Outgoing, { id, at, facts, isGarbage }: Parking): Outgoing {
  const { leasesLost, redelivered, parkedBy } = facts.history;
  const headers = {
    ...(original.options.headers as Record<string, unknown> | undefined),
    [DEAD_HEADERS.id]: id,
    [DEAD_HEADERS.code]: facts.code,
    [DEAD_HEADERS.reason]: facts.reason,
    [DEAD_HEADERS.queue]: facts.queue,
    [DEAD_HEADERS.at]: at,
    [DEAD_HEADERS.by]: parkedBy ?? undefined,
    [DEAD_HEADERS.losses]: leasesLost > 0 ? { '!': 'int', value: leasesLost } : undefined,
    [DEAD_HEADERS.redelivered]: redelivered || undefined,
    [DEAD_HEADERS.garbage]: isGarbage || undefined,
  };
  // No TTL: a dead letter waits for a human. Persistent, whatever the message was.
  return {
    content: original.content,
    options: { ...original.options, headers, expiration: undefined, deliveryMode: 2, mandatory: true },
  };
}

/** Reads a message of the dead letters; never throws. What others put there is shown as well as it can be. */
export function decodeDead(received: Message): DeadLetterContent {
  const { properties, content } = received;
  const given = (properties.headers ?? {}) as Readonly<Record<string, unknown>>;
  const { message, raw } = messageIn(received, given);
  const parkedAtMs = Date.parse(text(given[DEAD_HEADERS.at]));
  const letter: DeadLetter = {
    id: text(given[DEAD_HEADERS.id]) || idOfBytes(given, content),
    parkedAtMs: Number.isNaN(parkedAtMs) ? deathMs(given) : parkedAtMs,
    queue: text(given[DEAD_HEADERS.queue]) || text(given['x-first-death-queue']),
    code: text(given[DEAD_HEADERS.code]) || 'E_INTERNAL',
    reason: text(given[DEAD_HEADERS.reason]) || 'not parked by Lovage: somebody else put it among the dead letters',
    ...taskOf(message),
    history: historyOf(message?.headers ?? {}, {
      leasesLost: Number(given[DEAD_HEADERS.losses]) || 0,
      redelivered: given[DEAD_HEADERS.redelivered] === true,
      parkedBy: text(given[DEAD_HEADERS.by]) || null,
    }),
    size: raw.length,
  };
  return { letter, raw, message };
}

function messageIn(
  received: Message,
  given: Readonly<Record<string, unknown>>,
): { message: WireMessage | null; raw: Uint8Array } {
  const { properties, content } = received;
  if (properties.contentType === WRAPPED_CONTENT_TYPE) {
    const unwrapped = unwrap(content);
    if (unwrapped) return given[DEAD_HEADERS.garbage] === true ? { ...unwrapped, message: null } : unwrapped;
  }
  if (given[DEAD_HEADERS.garbage] === true) return { message: null, raw: content };
  const headers: Record<string, unknown> = {};
  for (const name of Object.keys(given)) if (!MARKS.has(name)) headers[name] = given[name];
  const decoded = decode({ ...received, properties: { ...properties, headers } });
  return { message: 'message' in decoded ? decoded.message : null, raw: content };
}

/** A message as a JSON document: its properties, its headers, and its body in base64. Nothing may be lost here. */
export function wrap(original: Message | WireMessage): Outgoing {
  const parts =
    'content' in original
      ? { properties: original.properties, body: original.content.toString('base64') }
      : { ...original, body: Buffer.from(bytesOf(original.body)).toString('base64') };
  const json = JSON.stringify(parts, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  return { content: Buffer.from(json), options: { contentType: WRAPPED_CONTENT_TYPE, contentEncoding: 'utf-8' } };
}

/** The message in a document of `wrap`; `null` if it is none. */
function unwrap(content: Buffer): { message: WireMessage; raw: Uint8Array } | null {
  try {
    const { body, ...parts } = JSON.parse(content.toString()) as { body: string; properties: Record<string, unknown> };
    const raw = Buffer.from(body, 'base64');
    if (!('contentType' in parts)) return { message: fromAmqpProperties(parts.properties, raw), raw };
    return { message: { ...(parts as unknown as WireMessage), body: { encoding: 'binary', data: raw } }, raw };
  } catch {
    return null;
  }
}

/** The id of a letter that has none: equal for equal letters, which are as good as one another. */
function idOfBytes(headers: Readonly<Record<string, unknown>>, content: Buffer): string {
  return `bytes-${createHash('sha256').update(text(headers['id'])).update(content).digest('hex').slice(0, 24)}`;
}

/** When the broker itself dead-lettered it; 0 = nobody said. */
function deathMs(headers: Readonly<Record<string, unknown>>): number {
  const [death] = (Array.isArray(headers['x-death']) ? headers['x-death'] : []) as { time?: { value?: unknown } }[];
  const seconds = death?.time?.value;
  return typeof seconds === 'number' ? seconds * 1_000 : 0;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
