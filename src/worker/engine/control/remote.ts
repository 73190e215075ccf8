/**
 * Remote control of this worker, put together: what it consumes and how large its pool is, both of which can change while it runs,
 * its port for commands, and the mailbox in which they arrive. Started and stopped by `engine.ts`.
 */

import type { Broker, Consumer } from '../../../brokers/broker.js';
import { declarationIn, type QueueDeclaration } from '../../../brokers/queue-table.js';
import type { LamportClock } from '../../../control/lamport-clock.js';
import { Mailbox } from '../../../control/mailbox.js';
import type { WorkerPort } from '../../../control/worker-port.js';
import type { Clock } from '../../../core/clock.js';
import type { Logger } from '../../../core/logger.js';
import { PoolControl } from '../executors/pool-control.js';
import type { Chords } from '../following/chords.js';
import { Subscriptions } from '../subscriptions.js';
import { EngineCommands } from './custom-commands.js';
import type { PauseWatch } from './pauses.js';
import { type EnginePortOptions, enginePort } from './worker-port.js';

export interface RemoteOptions extends Omit<EnginePortOptions, 'subscriptions' | 'declaration' | 'pool' | 'custom'> {
  readonly broker: Broker;
  /** `null` before the worker consumes, and once it stops. */
  readonly consumer: () => Consumer | null;
  readonly clock: Clock;
  readonly lamport: LamportClock;
  readonly logger: Logger;
}

export class Remote {
  readonly subscriptions: Subscriptions;
  readonly pool: PoolControl;
  readonly commands: EngineCommands;
  readonly port: WorkerPort;
  readonly #mailbox: Mailbox;
  readonly #pauses: PauseWatch;
  readonly #chords: Chords;

  constructor({ broker, consumer, clock, lamport, logger, ...parts }: RemoteOptions) {
    const { options, hello, executors, roster, active } = parts;
    const queues = options.queues ?? [{ name: hello.defaultQueue, credit: null }];
    this.subscriptions = new Subscriptions({ broker, consumer, queues, slots: executors.slots, logger });
    const { subscriptions } = this;
    parts.pauses.onQueues = (paused) => subscriptions.pause(paused);
    this.#pauses = parts.pauses;
    this.#chords = parts.chords;
    const { autoscale } = options;
    this.pool = new PoolControl({ executors, roster, subscriptions, autoscale, clock, load: () => active.size });
    const declares = broker.capabilities.queueDeclarations === true;
    const declaration = (queue: string): QueueDeclaration | null => (declares ? declarationIn(hello.queues, queue) : null);
    this.commands = new EngineCommands(executors, options.name, hello.commands);
    this.port = enginePort({ ...parts, logger, subscriptions, declaration, pool: this.pool, custom: this.commands });
    this.#mailbox = new Mailbox({ broker, port: this.port, clock: lamport, logger });
  }

  /** Declares what is to be consumed first: what people have paused is not. @throws BrokerError, ConfigError */
  async prepare(): Promise<void> {
    await this.#pauses.start();
    await this.subscriptions.declare();
  }

  /** The worker takes tasks: it may be asked and changed from now on. */
  async open(): Promise<void> {
    this.pool.start();
    this.#chords.overdue.watch();
    await this.#mailbox.open();
  }

  /** Nothing changes any more; questions are answered until `close`. */
  stopping(): void {
    this.#pauses.close();
    this.#chords.overdue.close();
    this.pool.close();
    this.subscriptions.close();
  }

  async close(): Promise<void> {
    this.stopping();
    await this.#mailbox.close();
  }
}
