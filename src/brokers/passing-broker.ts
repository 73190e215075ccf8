/** A broker that passes everything on to another: what layers over drivers are made of. Changes nothing by itself. */
import type { Destination } from '../wire/message.js';
import type {
  Binding,
  Broadcast,
  Broker,
  ConsumeOptions,
  Consumer,
  OutgoingMessage,
  Peeked,
  PublishOptions,
  PublishResult,
  QueueDepth,
  Subscription,
} from './broker.js';

export class PassingBroker implements Broker {
  protected readonly broker: Broker;

  constructor(broker: Broker) {
    this.broker = broker;
  }

  get name(): string {
    return this.broker.name;
  }
  get capabilities(): Broker['capabilities'] {
    return this.broker.capabilities;
  }
  get deadLetters(): Broker['deadLetters'] {
    return this.broker.deadLetters;
  }
  get revocations(): Broker['revocations'] {
    return this.broker.revocations;
  }
  get pauses(): Broker['pauses'] {
    return this.broker.pauses;
  }
  get waiting(): Broker['waiting'] {
    return this.broker.waiting;
  }

  connect(options: { readonly timeoutMs: number }): Promise<void> {
    return this.broker.connect(options);
  }
  publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    return this.broker.publish(messages, options);
  }
  consume(options: ConsumeOptions): Promise<Consumer> {
    return this.broker.consume(options);
  }
  spreads(to: Destination): boolean {
    return this.broker.spreads?.(to) === true;
  }
  bindings(exchange: string): Promise<readonly Binding[]> {
    return this.broker.bindings?.(exchange) ?? Promise.resolve([]);
  }
  declare(queue: string): Promise<void> {
    return this.broker.declare(queue);
  }
  queues(): Promise<readonly string[]> {
    return this.broker.queues();
  }
  depth(queues: readonly string[]): Promise<readonly QueueDepth[]> {
    return this.broker.depth(queues);
  }
  peek(queue: string, limit: number): Promise<readonly Peeked[]> {
    return this.broker.peek(queue, limit);
  }
  purge(queue: string, onProgress?: (removed: number) => void): Promise<number> {
    return this.broker.purge(queue, onProgress);
  }
  broadcast(broadcast: Broadcast): Promise<number | null> {
    return this.broker.broadcast(broadcast);
  }
  listen(exchange: string, pattern: string, onBroadcast: (broadcast: Broadcast) => void): Promise<Subscription> {
    return this.broker.listen(exchange, pattern, onBroadcast);
  }
  openInbox(...args: Parameters<Broker['openInbox']>): ReturnType<Broker['openInbox']> {
    return this.broker.openInbox(...args);
  }
  sendReply(...args: Parameters<Broker['sendReply']>): Promise<void> {
    return this.broker.sendReply(...args);
  }
  close(): Promise<void> {
    return this.broker.close();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
