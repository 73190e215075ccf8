/**
 * The RabbitMQ driver (`amqp:`, `amqps:`): assembles its parts and owns the two connections. One publishes, one consumes and
 * acknowledges: under a memory or disk alarm the broker stops reading from publishers, and acks must not wait behind them.
 *
 * In here: `publish.ts` messages in, `topology.ts` and `declared.ts` what is declared, `delay.ts` the delay ladder, `codec.ts` messages, `consumer.ts` with `credit-gate.ts`,
 * `ack-batch.ts`, `claims.ts` and `settle.ts` deliveries, `holders.ts` and `inquests.ts` their losses, `listener.ts` broadcasts, `inspect.ts` questions, `dead-letters.ts` what was parked. Publishing with confirms is
 * `clients/amqp-publisher.ts`. Next stop: `worker/engine/consumer.ts`.
 */
import { AmqpLink } from '../../clients/amqp.js';
import { ConfirmPublisher } from '../../clients/amqp-publisher.js';
import { SetupChannel } from '../../clients/amqp-setup.js';
import { type AmqpTarget, parseAmqpUrl } from '../../clients/amqp-url.js';
import { BrokerError } from '../../core/errors.js';
import type { ReplyAddress } from '../../wire/control-message.js';
import type { WireMessage } from '../../wire/message.js';
import type {
  Broadcast,
  Broker,
  BrokerCapabilities,
  BrokerOptions,
  ConsumeOptions,
  Consumer,
  Inbox,
  OutgoingMessage,
  Peeked,
  PublishOptions,
  PublishResult,
  QueueDepth,
  Subscription,
} from '../broker.js';
import type { DeadLetters } from '../dead-letters.js';
import type { Pauses } from '../pauses.js';
import { NO_QUEUE_TABLE, type QueueTable } from '../queue-table.js';
import type { Revocations } from '../revocations.js';
import { WalkedMessages } from '../waiting.js';
import { encodeForQueue, markResent } from './codec.js';
import { RabbitmqConsumer } from './consumer.js';
import { ConsumerTimeout } from './consumer-timeout.js';
import { RabbitmqDeadLetters } from './dead-letters.js';
import { DeadWalks } from './dead-walk.js';
import { DeclaredQueues } from './declared.js';
import { Holders } from './holders.js';
import { depth, peek, purge } from './inspect.js';
import { listen, openInbox } from './listener.js';
import { RabbitmqPauses } from './pauses.js';
import { QueuePublisher } from './publish.js';
import { Settler } from './settle.js';
import { Topology } from './topology.js';
import { rabbitmqWalk } from './waiting.js';

export { DEAD_HEADERS } from './dead-codec.js';
export { DEAD_QUEUE } from './topology.js';

const DECLARE_MS = 10_000;
const BROADCAST_MS = 5_000;

function priorities({ options }: AmqpTarget, table: QueueTable): true | string {
  if (options.maxPriority !== null) return true;
  return (options.queueType ?? table.defaultType) === 'quorum'
    ? "quorum queues know no priorities as Celery has them: declare the queue with type: 'classic' and maxPriority in `queues`"
    : 'queues are declared plainly, as Celery does, and RabbitMQ honours priorities only where a queue has x-max-priority: give them maxPriority in `queues`, or add ?max_priority=9 to the URL, for every client of these queues';
}

function capabilitiesOf(target: AmqpTarget, table: QueueTable): BrokerCapabilities {
  return {
    shared: true,
    durable: true,
    delayedPublish: true,
    priorities: priorities(target, table),
    peek: 'RabbitMQ has no way to look at a message without taking it: it is put back where it was, but marked as redelivered',
    countsLosses:
      'RabbitMQ tells that a message was delivered before, and not why: the first worker that dies with a message is not counted, the others are',
    recordsRevocations:
      'RabbitMQ has no place for them: with a result store that is a Redis or a file the records are kept there, else a revoke reaches only the workers that listen',
    withdraws:
      'a message in a queue of RabbitMQ, delay queues included, cannot be taken out by its id: it is dropped when its time has come',
    dedupe: 'RabbitMQ has no place for dedupe keys: they are kept in the result store',
    celery: true,
    queueDeclarations: true,
    countsListeners: 'RabbitMQ does not tell to how many queues a broadcast went',
  };
}

/** Opens the driver; connects on first use. @throws ConfigError `E_CONFIG_URL` */
export async function openRabbitmqBroker(options: BrokerOptions): Promise<Broker> {
  return new RabbitmqBroker(parseAmqpUrl(options.url), options);
}

class RabbitmqBroker implements Broker {
  readonly name = 'rabbitmq';
  readonly capabilities: BrokerCapabilities;
  readonly deadLetters: DeadLetters;
  readonly revocations: Revocations = { records: null, withdraw: async () => new Map() };
  readonly pauses: Pauses;
  readonly waiting: WalkedMessages;
  readonly #options: BrokerOptions;
  readonly #publishLink: AmqpLink;
  readonly #consumeLink: AmqpLink;
  readonly #publisher: ConfirmPublisher;
  readonly #publishSetup: SetupChannel;
  readonly #consumeSetup: SetupChannel;
  readonly #topology: Topology;
  readonly #queuePublisher: QueuePublisher;
  readonly #settler: Settler;
  readonly #timeout: ConsumerTimeout;
  readonly #holders: Holders;
  readonly #consumers = new Set<RabbitmqConsumer>();
  readonly #subscriptions = new Set<Subscription>();
  #consuming = false;
  #closed = false;

  constructor(target: AmqpTarget, options: BrokerOptions) {
    const table = options.queues ?? NO_QUEUE_TABLE;
    this.#options = options;
    this.capabilities = capabilitiesOf(target, table);
    this.#publishLink = new AmqpLink(target, `lovage ${options.role} publish`, options.logger);
    this.#consumeLink = new AmqpLink(target, `lovage ${options.role} consume`, options.logger);
    this.#publishSetup = new SetupChannel(this.#publishLink);
    this.#consumeSetup = new SetupChannel(this.#consumeLink);
    this.#publisher = new ConfirmPublisher(this.#publishLink, markResent);
    // Under an alarm a publishing connection answers nothing, so an engine declares and asks on the other one.
    const declared = new DeclaredQueues(table, target.options);
    this.#topology = new Topology(() => this.#setup(), new SetupChannel(this.#consumeLink), declared, options.logger);
    this.#queuePublisher = new QueuePublisher(this.#publisher, this.#topology);
    this.#settler = new Settler(this.#publisher, this.#topology, options.logger, Date.now);
    this.#timeout = new ConsumerTimeout(target.options.consumerTimeoutMs, options.logger);
    this.#holders = new Holders(this.#consumeSetup);
    // Looked through on the connection that no alarm stops.
    const looking = {
      link: this.#consumeLink,
      walks: new DeadWalks(this.#consumeLink, this.#publisher),
      publisher: this.#publisher,
      topology: this.#topology,
      setup: () => this.#setup(),
      assertOpen: () => this.#assertOpen(),
    };
    this.deadLetters = new RabbitmqDeadLetters(looking);
    this.pauses = new RabbitmqPauses(looking);
    this.waiting = new WalkedMessages(rabbitmqWalk(looking));
    const forget = { onUp: () => undefined, onDown: () => this.#topology.disconnected() };
    this.#publishLink.listen(forget);
    this.#consumeLink.listen(forget);
    this.#consumeLink.listen({ onUp: () => this.#holders.reconnected(), onDown: () => this.#holders.hidden() });
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    this.#assertOpen();
    await this.#publishLink.connected(timeoutMs);
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    this.#assertOpen();
    return this.#queuePublisher.publish(messages, options);
  }

  async consume(options: ConsumeOptions): Promise<Consumer> {
    this.#assertOpen();
    this.#consuming = true;
    const parts = {
      link: this.#consumeLink,
      setup: this.#consumeSetup,
      topology: this.#topology,
      publisher: this.#publisher,
      settler: this.#settler,
      timeout: this.#timeout,
      holders: this.#holders,
    };
    const consumer = new RabbitmqConsumer(parts, options, () => this.#consumers.delete(consumer));
    this.#consumers.add(consumer);
    await consumer.started(DECLARE_MS);
    return consumer;
  }

  async declare(queue: string): Promise<void> {
    this.#assertOpen();
    await this.#topology.queue(queue, DECLARE_MS);
  }

  async queues(): Promise<readonly string[]> {
    this.#assertOpen();
    return this.#topology.queues;
  }

  async depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    this.#assertOpen();
    return depth(this.#setup(), queues);
  }

  async peek(queue: string, limit: number): Promise<readonly Peeked[]> {
    this.#assertOpen();
    return peek(this.#setup(), queue, limit);
  }

  async purge(queue: string, onProgress?: (removed: number) => void): Promise<number> {
    this.#assertOpen();
    const removed = await purge(this.#setup(), queue);
    onProgress?.(removed);
    return removed;
  }

  /** RabbitMQ does not tell how many queues a message went to, but gives back what goes to none. */
  async broadcast(broadcast: Broadcast): Promise<0 | null> {
    return (await this.#tell(broadcast)) ? null : 0;
  }

  async sendReply(to: ReplyAddress, message: WireMessage): Promise<void> {
    await this.#tell({ ...to, message });
  }

  async listen(exchange: string, pattern: string, onBroadcast: (broadcast: Broadcast) => void): Promise<Subscription> {
    this.#assertOpen();
    this.#consuming = true;
    const kind = this.#topology.broadcastKind(exchange);
    return this.#track(await listen(this.#consumeLink, this.#options.logger, exchange, kind, pattern, onBroadcast));
  }

  async openInbox(exchange: string, onReply: (message: WireMessage) => void): Promise<Inbox> {
    this.#assertOpen();
    this.#consuming = true;
    return this.#track(await openInbox(this.#consumeLink, this.#options.logger, exchange, onReply));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#consumers].map((consumer) => consumer.close({ timeoutMs: 1_000 })));
    await Promise.all([...[...this.#subscriptions].map((subscription) => subscription.close()), this.#publisher.close()]);
    await Promise.all([this.#publishLink.close(), this.#consumeLink.close()]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** `false`: nobody listens, which is fine: then nobody misses it. */
  async #tell({ exchange, routingKey, message }: Broadcast): Promise<boolean> {
    this.#assertOpen();
    if (exchange !== '') await this.#topology.broadcast(exchange, BROADCAST_MS);
    const { content, options } = encodeForQueue(message, undefined, 'queue');
    const [failure] = await this.#publisher.publish(
      [{ exchange, routingKey, content, options: { ...options, mandatory: true } }],
      { timeoutMs: BROADCAST_MS },
    );
    if (!failure) return true;
    if (failure.missing === 'queue') return false;
    if (failure.missing) this.#topology.forget();
    throw new BrokerError(failure.code, `broadcast to ${exchange} failed: ${failure.message}`, { cause: failure.cause });
  }

  /** Closed with the broker, if not before. */
  #track<Open extends Subscription>(opened: Open): Open {
    const tracked: Open = {
      ...opened,
      close: () => {
        this.#subscriptions.delete(tracked);
        return opened.close();
      },
    };
    this.#subscriptions.add(tracked);
    return tracked;
  }

  #setup(): SetupChannel {
    return this.#consuming ? this.#consumeSetup : this.#publishSetup;
  }

  #assertOpen(): void {
    if (this.#closed) throw new BrokerError('E_CLOSED', 'the RabbitMQ broker was used after close()');
  }
}
