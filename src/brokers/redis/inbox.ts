/**
 * Inboxes for replies in kombu's layout (wire section 8.2), so that Python workers can write into them: a list, and a member
 * of the exchange's binding set. Unlike kombu's, everything of an inbox expires: a client that is killed leaves nothing.
 *
 * Replies are popped on a connection of their own that waits for them; a wait on the one for commands would hold those up.
 */
import { randomUUID } from 'node:crypto';
import { RedisConnection, RedisLinkError } from '../../clients/redis.js';
import { toError } from '../../core/errors.js';
import { type ReplyAddress, replyQueueOn } from '../../wire/control-message.js';
import type { WireMessage } from '../../wire/message.js';
import { decodeEnvelope, encodeEnvelope } from '../../wire/redis-envelope.js';
import { INBOX_LIMITS, type Inbox } from '../broker.js';
import { REACH_MS } from './broadcast.js';
import type { RedisLinks } from './connection.js';
import { bindingOf, type RedisKeys } from './keys.js';
import { closeInbox, type InboxKeys, pushReply, renewInbox } from './scripts/inbox.js';

/** One wait for replies, in seconds: shorter than the silence after which a connection is taken for dead. */
const WAIT_S = '1';
/** What closing waits for the connection for commands, if that was never used. */
const FORGET_MS = 1_000;
/** Replies taken at once after the first. */
const TAKEN = '100';

export interface RedisInbox extends Inbox {
  /** Ends it as `kill -9` would: everything stays until it expires. */
  crash(): Promise<void>;
}

/** Puts a reply where its address says, if somebody still waits there. */
export async function sendRedisReply(links: RedisLinks, to: ReplyAddress, message: WireMessage): Promise<void> {
  const envelope = encodeEnvelope(message, { ...to, deliveryTag: randomUUID() });
  await links.commands.whenReady(REACH_MS);
  await pushReply(links.commands, inboxKeys(links.keys, to), envelope);
}

/** Opens an inbox; resolves once it is bound. */
export async function openRedisInbox(
  links: RedisLinks,
  exchange: string,
  onReply: (message: WireMessage) => void,
  onClosed: () => void,
): Promise<RedisInbox> {
  const inbox = new OpenInbox(links, { exchange, routingKey: randomUUID() }, onReply, onClosed);
  try {
    await inbox.open();
  } catch (error) {
    await inbox.close();
    throw error;
  }
  return inbox;
}

function inboxKeys(keys: RedisKeys, { exchange, routingKey }: ReplyAddress): InboxKeys {
  const queue = replyQueueOn(exchange, routingKey);
  const [binding, member] = bindingOf(keys.prefix, exchange, routingKey, queue);
  return { binding, member, list: keys.prefix + queue, inboxes: keys.inboxes + exchange };
}

class OpenInbox implements RedisInbox {
  readonly address: ReplyAddress;
  readonly #links: RedisLinks;
  readonly #keys: InboxKeys;
  readonly #onReply: (message: WireMessage) => void;
  readonly #onClosed: () => void;
  readonly #connection: RedisConnection;
  #renewedMs = -Infinity;
  #reading: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(links: RedisLinks, address: ReplyAddress, onReply: (message: WireMessage) => void, onClosed: () => void) {
    this.address = address;
    this.#links = links;
    this.#keys = inboxKeys(links.keys, address);
    this.#onReply = onReply;
    this.#onClosed = onClosed;
    this.#connection = new RedisConnection({ target: links.target, logger: links.logger, name: 'lovage:inbox' });
  }

  async open(): Promise<void> {
    await this.#connection.whenReady(REACH_MS);
    await this.#renew();
    this.#reading = this.#read();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    const { commands } = this.#links;
    const isReachable = this.#connection.isReady;
    const ended = this.#end();
    // What cannot be removed expires.
    if (isReachable)
      await commands
        .whenReady(FORGET_MS)
        .then(() => closeInbox(commands, this.#keys))
        .catch(() => {});
    await ended;
  }

  crash(): Promise<void> {
    return this.#end();
  }

  async #end(): Promise<void> {
    this.#closed = true;
    this.#onClosed();
    await this.#connection.close();
    await this.#reading;
  }

  async #renew(): Promise<void> {
    await renewInbox(this.#connection, this.#keys, INBOX_LIMITS.ttlMs);
    this.#renewedMs = performance.now();
  }

  /** Until it is closed: waits, takes what is there, and renews. What came on a connection that died is lost, as replies may be. */
  async #read(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.#connection.whenReady(Infinity);
        if (performance.now() - this.#renewedMs >= INBOX_LIMITS.renewMs) await this.#renew();
        const first = (await this.#connection.call('brpop', [this.#keys.list, WAIT_S])) as [Buffer, Buffer] | null;
        if (first === null) continue;
        const more = (await this.#connection.call('rpop', [this.#keys.list, TAKEN])) as Buffer[] | null;
        for (const envelope of [first[1], ...(more ?? [])]) this.#tell(envelope);
      } catch (error) {
        if (this.#closed) return;
        // A new connection may have found another server, which knows nothing of us.
        this.#renewedMs = -Infinity;
        if (error instanceof RedisLinkError) continue;
        this.#links.logger.warn({ err: toError(error) }, 'redis: replies cannot be read; trying again');
        this.#connection.reconnect(toError(error));
      }
    }
  }

  #tell(envelope: Buffer): void {
    if (this.#closed) return;
    try {
      this.#onReply(decodeEnvelope(envelope).message);
    } catch (error) {
      this.#links.logger.warn({ cause: String(error) }, 'redis: a reply that is no message was ignored');
    }
  }
}
