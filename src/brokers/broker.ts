/**
 * Stop 4 of the walk: the broker seam. What Lovage needs of a broker, and nothing else; each driver does it in its
 * broker's own idiom. A driver is finished when it passes `testing/broker-conformance.ts`.
 *
 * Everything is in batches, because a batch is what makes a broker fast; one message is a batch of one.
 * Next stop: `worker/engine/consumer.ts` for deliveries coming out, or back to `app/publish.ts` for messages going in.
 */
import type { PublishError, WireError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { ReplyAddress } from '../wire/control-message.js';
import type { Destination, WireMessage } from '../wire/message.js';
import type { DeadLetters } from './dead-letters.js';
import type { Pauses } from './pauses.js';
import type { QueueTable } from './queue-table.js';
import type { Revocations } from './revocations.js';
import type { WaitingMessages } from './waiting.js';

/** What only some brokers can do. `true`, or the reason why not (shown to people). Callers test this, never a driver's name. */
export interface BrokerCapabilities {
  /** Other processes see the same queues. */
  readonly shared: true | string;
  /** Messages survive a restart of the broker. */
  readonly durable: true | string;
  /** Publishing takes `notBeforeMs` itself: the message waits in the broker and not in a queue, if need be as long as a worker of ours lives. */
  readonly delayedPublish: true | string;
  /** `OutgoingMessage.dedupe` is honoured: the key is taken in one step with the publish. */
  readonly dedupe: true | string;
  /** Priorities are honoured on queues declared by default. */
  readonly priorities: true | string;
  /** `peek` shows messages without touching them. */
  readonly peek: true | string;
  /** `Delivery.losses` counts workers that died while they held the message; see there which. */
  readonly countsLosses: true | string;
  /** It keeps records of revoked tasks, for workers that start later. */
  readonly recordsRevocations: true | string;
  /** `revocations.withdraw` removes what waits for a time. */
  readonly withdraws: true | string;
  /** Python Celery nodes can share the queues. */
  readonly celery: true | string;
  /** Queues are declared as `BrokerOptions.queues` says, and messages can go to an exchange. */
  readonly queueDeclarations: true | string;
  /** `broadcast` tells how many listen. */
  readonly countsListeners: true | string;
  /** How exactly `defer` keeps its time, in milliseconds; absent = to the millisecond. The engine holds what is nearer than this itself. */
  readonly delayPrecisionMs?: number;
}

/** A message on its way in. */
export interface OutgoingMessage {
  readonly to: Destination;
  readonly message: WireMessage;
  /** 0 to 9, higher = sooner on every broker; the driver writes it in its broker's own sense. Absent = the broker's default. */
  readonly priority?: number;
  /** Wall time before which no worker may get it. Honoured if `capabilities.delayedPublish`; else it goes to the queue and a worker defers it by its `eta` header. */
  readonly notBeforeMs?: number;
  /** Sent only if no message with this key was, in one step with taking the key. Honoured if `capabilities.dedupe`; else the caller sees to it. */
  readonly dedupe?: DedupeKey;
  /**
   * Its worker may be of another make: it must not wait where only Lovage looks. Where the delay store is such a place, it goes to its
   * queue with its `eta` header, as Celery's clients send it.
   */
  readonly anyWorker?: boolean;
}

/**
 * A key that one message may have for a time. Whoever comes too late gets a DuplicateSendError with the id of the one that has it;
 * the same id again is confirmed and not sent twice, so an unknown outcome can be cleared up by repeating.
 */
export interface DedupeKey {
  /** Short, of letters, digits, `:` and `-`. */
  readonly key: string;
  /** From the send on. */
  readonly ttlMs: number;
}

/** `null`: confirmed. Otherwise why not, with `outcome` telling what is known. Never throws for a single message. */
export type PublishResult = PublishError | null;

export interface PublishOptions {
  /** Total time for the whole batch, reconnects included. After it every unconfirmed message gets `E_PUBLISH_TIMEOUT`. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** A message held by this consumer until it is settled. */
export interface Delivery {
  readonly kind: 'delivery';
  /** The driver's handle; never reused, never equal to that of an earlier delivery of the same message. */
  readonly tag: string;
  readonly queue: string;
  readonly message: WireMessage;
  /** The broker knows or suspects that somebody had it before. */
  readonly redelivered: boolean;
  /**
   * How many workers died with it; 0 where the broker cannot tell. The first loss counts for all that a dead worker held, because nobody
   * knows what it had begun; each further one only for what it had secured. A hand-back counts nothing, secured or not.
   */
  readonly losses: number;
}

/** Something in a queue that is no message. It must be parked: it would come back for ever. */
export interface Garbage {
  readonly kind: 'garbage';
  readonly tag: string;
  readonly queue: string;
  readonly raw: Uint8Array;
  readonly fault: WireError;
}

export type Arrival = Delivery | Garbage;

/** Why a message was parked: shown by `lovage dead`. */
export interface ParkReason {
  /** A code of `core/error-codes.ts`. */
  readonly code: string;
  readonly reason: string;
}

/** How a delivery ends. Every kind removes the hold; `ack` and the removal half of the others are refused for a lost lease. */
export type Settlement =
  | { readonly kind: 'ack'; readonly arrival: Arrival }
  /** Back to its queue: `front` = served next (hand-back), `back` = served last. Counts nothing against the task. */
  | { readonly kind: 'requeue'; readonly arrival: Delivery; readonly where: 'front' | 'back' }
  /** To the delay store until `untilMs` (wall time), then to the back of its queue. With `message`, that one instead (a retry's successor): stored and confirmed before the old one goes. */
  | {
      readonly kind: 'defer';
      readonly arrival: Delivery;
      readonly untilMs: number;
      readonly message?: WireMessage;
      readonly to?: Destination;
    }
  /** To the dead letters with its raw bytes and the reason. */
  | { readonly kind: 'park'; readonly arrival: Arrival; readonly reason: ParkReason };

/** `held`: done. `lost`: this consumer no longer held it (lease over, channel gone); nothing was changed. */
export type SettleResult = 'held' | 'lost';

export interface ConsumedQueue {
  readonly name: string;
  /** The first credit of the queue: how many deliveries may be out at once. */
  readonly credit: number;
}

export interface ConsumeOptions {
  readonly queues: readonly ConsumedQueue[];
  /** The first total credit over all queues. */
  readonly credit: number;
  /** How long a delivery stays ours without renewal. The driver renews; 15 s by default. */
  readonly leaseMs: number;
  /** Node name, for tags and for people. */
  readonly consumerName: string;
  readonly logger: Logger;
  /** Called with what came in; must not throw and must not block. */
  onArrivals(arrivals: readonly Arrival[]): void;
  /** Called when deliveries are no longer ours, with their tags. Their outcomes must be dropped. */
  onLost(tags: readonly string[]): void;
  /**
   * The version of `revocations.records` when messages were taken, learnt with them: nobody polls. Called before their arrivals,
   * also when nothing came; 0 = nothing is recorded, as at the start. Never called where the broker keeps no records.
   */
  onRevocations?(version: number): void;
  /** The connection state as the driver sees it; the driver reconnects for ever by itself. */
  onState(state: 'connected' | 'disconnected', cause?: Error): void;
}

/** What a consumer takes, and how much of it. */
export type ConsumeWish = Pick<ConsumeOptions, 'queues' | 'credit'>;

/** A running subscription to several queues. */
export interface Consumer {
  /**
   * Consumes exactly these queues from now on, with these credits. They must have been declared. What is out stays out: it counts
   * against the new credits, and is granted and settled as before, also when its queue was left. Resolves once nothing more comes
   * from queues that were left; calls take effect in order. Without a connection it holds for the next one.
   */
  change(wish: ConsumeWish): Promise<void>;
  /**
   * Gives back credit: `count` more deliveries may come from `queue` (both the queue's and the total credit rise; for a queue that
   * was left, the total).
   * Called once an executor slot is free again, which may be before the delivery is settled.
   */
  grant(queue: string, count: number): void;
  /** Whether the delivery is still ours, by the monotonic clock; asked before a result is written. */
  holds(tag: string): boolean;
  /**
   * To be awaited before a delivery is started that somebody had before or that has a loss: from then on the death of this worker
   * counts as a loss of it (see `Delivery.losses`). Never rejects; what cannot be done within a lease (or a few seconds) is left undone.
   * `false`: it must not be started, because it is no longer ours or goes back in a moment.
   */
  secure(delivery: Delivery): Promise<boolean>;
  /** Settles; results in the same order. Rejects only when the broker cannot be reached before the consumer is closed. */
  settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]>;
  /** Takes nothing more; deliveries that were out stay out and can still be settled. */
  pause(): Promise<void>;
  /** `pause`, then lets go of everything: what is unsettled goes back to its queue if the broker can be reached within `timeoutMs`. Resolves with the number handed back. */
  close(options: { readonly timeoutMs: number }): Promise<number>;
  /** Monotonic milliseconds of the last proof that the broker answers (pop, push or ping). */
  lastAliveMs(): number;
  /**
   * What somebody should mend although the broker works, a sentence each: it may evict data, data has vanished. A handful
   * at most. Absent: the driver notices nothing of the kind.
   */
  warnings?(): readonly string[];
}

export interface QueueDepth {
  readonly queue: string;
  readonly ready: number;
  /** Waiting for a time; `null` where the broker cannot tell. */
  readonly delayed: number | null;
  /** Held by workers; `null` where the broker cannot tell. */
  readonly unacked: number | null;
}

/** What `peek` shows. */
export type Peeked = { readonly message: WireMessage; readonly notBeforeMs: number | null } | { readonly garbage: Uint8Array };

/** A queue as it is bound to an exchange. */
export interface Binding {
  readonly queue: string;
  /** A pattern where the exchange is a topic exchange. */
  readonly routingKey: string;
}

/** A broadcast on its way in or out (control, events). Not durable: who does not listen misses it. */
export interface Broadcast {
  readonly exchange: string;
  readonly routingKey: string;
  readonly message: WireMessage;
}

export interface Subscription {
  close(): Promise<void>;
}

/**
 * A private queue for replies, for as long as it is open. Bounded wherever it lies: so many messages and bytes and no more
 * (`INBOX_LIMITS`), and gone by itself within a minute after its owner was killed.
 */
export interface Inbox {
  /** What a request carries so that the reply finds its way. */
  readonly address: ReplyAddress;
  close(): Promise<void>;
}

/** What an inbox may hold unread, and how long it outlives its owner. Replies beyond it are dropped. */
export const INBOX_LIMITS = { messages: 1_000, bytes: 64 * 1024 * 1024, ttlMs: 60_000, renewMs: 20_000 } as const;

export interface Broker {
  /** The driver, for logs: `redis`, `file`, … */
  readonly name: string;
  readonly capabilities: BrokerCapabilities;
  /** What was parked, of all queues. */
  readonly deadLetters: DeadLetters;
  /** Tasks that must not run any more. */
  readonly revocations: Revocations;
  /** Queues and tasks that people have paused. */
  readonly pauses: Pauses;
  /** What waits in queues, to be looked for, taken out or moved. */
  readonly waiting: WaitingMessages;
  /** Connects, or proves that it can. @throws BrokerError `E_BROKER_UNREACHABLE`, `E_BROKER_AUTH` */
  connect(options: { readonly timeoutMs: number }): Promise<void>;
  /** Resolves with one result a message, in order; rejects only for misuse (`E_CLOSED`). */
  publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]>;
  consume(options: ConsumeOptions): Promise<Consumer>;
  /** Only `publish` can send there: to several queues, or to whoever listens. Absent: never. */
  spreads?(to: Destination): boolean;
  /** Queues that anybody has bound to an exchange. Absent where exchanges are the broker's own business, or nobody else has any. */
  bindings?(exchange: string): Promise<readonly Binding[]>;
  /** Makes the queue exist, equal to what Celery would declare; adopts one that differs. */
  declare(queue: string): Promise<void>;
  /** The queues that this broker knows of, sorted. */
  queues(): Promise<readonly string[]>;
  depth(queues: readonly string[]): Promise<readonly QueueDepth[]>;
  /** The next `limit` messages in the order in which they would be served. */
  peek(queue: string, limit: number): Promise<readonly Peeked[]>;
  /** Removes what waits in the queue (ready and delayed) in steps; `onProgress` is called with the running total. */
  purge(queue: string, onProgress?: (removed: number) => void): Promise<number>;
  /** Resolves with the number of listeners that the broker says it was given to; 0 = nobody listens, `null` = somebody, and it cannot tell how many. */
  broadcast(broadcast: Broadcast): Promise<number | null>;
  /** `exchange` as published to; `pattern` in AMQP topic form (`#` = everything). */
  listen(exchange: string, pattern: string, onBroadcast: (broadcast: Broadcast) => void): Promise<Subscription>;
  /** Opens a queue of one's own on this exchange, for replies; whoever has its address may write into it with `sendReply`. */
  openInbox(exchange: string, onReply: (message: WireMessage) => void): Promise<Inbox>;
  /** Puts a reply into an inbox, of a Python client too. Dropped in silence when it is gone or full: nobody waits any more. */
  sendReply(to: ReplyAddress, message: WireMessage): Promise<void>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What every driver's factory gets. */
export interface BrokerOptions {
  readonly url: string;
  /** How queues are declared. Absent = all of them by their names alone. */
  readonly queues?: QueueTable;
  readonly logger: Logger;
  /** `engine`: the caller's loop runs no user code, so blocking briefly is fine. `client`: it must never wait for a disk. */
  readonly role: 'engine' | 'client';
}
