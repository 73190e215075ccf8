/**
 * The queue of an app's schedulers on RabbitMQ: who is its single active consumer leads, and the message in it says what was decided. Owns
 * the channel, and what makes the two hold; what the message says is `cursors.ts`.
 *
 * The leader holds the newest note unacknowledged. When its connection ends, the broker puts the note back and makes somebody else the
 * active consumer in one step, so a note can be neither lost nor read too early. A channel that ends by itself takes the connection with
 * it: the tasks that the leader publishes are on that connection too, and must not outlive the lead.
 */
import { randomUUID } from 'node:crypto';
import { declarationError } from '../../../brokers/rabbitmq/declaration-error.js';
import {
  type AmqpLink,
  type ChannelModel,
  type ConfirmChannel,
  type ConsumeMessage,
  type Options,
  retryDelayMs,
} from '../../../clients/amqp.js';
import { AMQP_PRECONDITION_FAILED, amqpCode, type SetupChannel } from '../../../clients/amqp-setup.js';
import { closeChannel } from '../../../clients/within.js';
import { sleep } from '../../../core/clock.js';
import { BrokerError, ConfigError, codeOf, toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import type { Lead } from '../../beat-store.js';

/** An app without schedulers for so long leaves nothing behind. */
const UNUSED_MS = 30 * 86_400_000;
/** Classic: a quorum queue is not on disk until a second after it was made, and one that is killed before has a name and nothing else. */
const ARGUMENTS = { 'x-queue-type': 'classic', 'x-single-active-consumer': true, 'x-expires': UNUSED_MS } as const;
const DECLARE_MS = 10_000;
const WRITE_MS = 5_000;
/** RabbitMQ's own address for answers to one channel. */
const REPLY_TO = 'amq.rabbitmq.reply-to';
const HELLO_TTL_MS = '60000';
/** Standbys that came before the leader had begun to lead. */
const MOST_ASKING = 100;

/** What lies in the queue, and answers. */
const NOTE = 'lovage.beat.note';
/** Of one who came: the leader answers. The first word in an empty queue makes its author the leader. */
const HELLO = 'lovage.beat.hello';
/** Of the active consumer to itself: all in front of it has been read. */
const MARK = 'lovage.beat.mark';
const LEADS = 'lovage.beat.leads';

export interface LeadQueueOptions {
  readonly link: AmqpLink;
  readonly setup: SetupChannel;
  readonly queue: string;
  readonly logger: Logger;
  /** Subscribed: from here on somebody's end makes us lead. */
  readonly onWaiting: () => void;
  /** We are the active consumer, and this is all that was noted. */
  readonly onActive: (notes: readonly string[]) => void;
  /** Somebody else leads. */
  readonly onOther: (lead: Lead) => void;
  /** Neither waiting nor active any more. */
  readonly onDown: (cause: Error) => void;
}

/** One life of the channel. */
interface Session {
  readonly id: string;
  readonly channel: ConfirmChannel;
  /** Notes that are not acknowledged: of our own their number, of others before us -1. Two or three at most. */
  readonly held: Map<number, number>;
  readonly notes: string[];
  state: 'waiting' | 'reading' | 'active' | 'ended';
  written: number;
  confirmed: number;
  /** Where answers go to that wait until we lead. */
  readonly asking: string[];
}

export class LeadQueue {
  readonly #options: LeadQueueOptions;
  #stopListening: (() => void) | null = null;
  #session: Session | null = null;
  #lead: Lead | null = null;
  #tries = 0;
  #isClosed = false;

  constructor(options: LeadQueueOptions) {
    this.#options = options;
  }

  /** @throws BrokerError as declarations; ConfigError `E_CONFIG_CONFLICT` for a queue of that name that is another one */
  async declare(timeoutMs: number): Promise<void> {
    const { setup, queue } = this.#options;
    try {
      await setup.run(timeoutMs, (channel) => channel.assertQueue(queue, { durable: true, arguments: ARGUMENTS }));
    } catch (error) {
      if (amqpCode(error) !== AMQP_PRECONDITION_FAILED) throw declarationError(error, 'queue', queue);
      const what = `queue ${queue} is there with other arguments, so it cannot say who leads: delete it while no scheduler runs`;
      throw new ConfigError('E_CONFIG_CONFLICT', what, { cause: error });
    }
  }

  /** Subscribes, now and after each reconnection. */
  start(): void {
    const { link, onDown } = this.#options;
    this.#stopListening ??= link.listen({
      onUp: (model) => void this.#open(model),
      onDown: (cause) => {
        const session = this.#session;
        this.#session = null;
        this.#lead = null;
        if (session !== null) session.state = 'ended';
        onDown(cause);
      },
    });
  }

  /** Says that we lead, to those who asked and who will ask. */
  tell(lead: Lead): void {
    this.#lead = lead;
    const session = this.#session;
    if (session === null) return;
    for (const replyTo of session.asking.splice(0)) this.#answer(session, replyTo, lead);
  }

  /**
   * Puts a note in the place of the one before. Resolves when the broker has it on disk. One at a time.
   * @throws BrokerError `E_CONNECTION_LOST`, `E_PUBLISH_TIMEOUT`, `E_PUBLISH_FAILED`, and then the connection is given up
   */
  async write(text: string): Promise<void> {
    const { link, queue } = this.#options;
    const session = this.#session;
    if (session?.state !== 'active') throw new BrokerError('E_CONNECTION_LOST', 'this scheduler is not the one that leads');
    session.written += 1;
    const number = session.written;
    try {
      await confirmed(session.channel, queue, Buffer.from(text), {
        ...{ persistent: true, contentType: 'application/json', type: NOTE, messageId: `${session.id} ${number}` },
      });
    } catch (error) {
      // Nobody knows whether it is there; who reads the queue anew does.
      link.abandon(toError(error));
      throw error;
    }
    session.confirmed = number;
    this.#release(session);
  }

  /** Leaves the queue, so that another one leads at once. Does not come back. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopListening?.();
    const session = this.#session;
    this.#session = null;
    if (session === null) return;
    session.state = 'ended';
    // Never a cancel first: the next one would be told to lead before it can be given our note.
    await closeChannel(session.channel);
  }

  async #open(model: ChannelModel): Promise<void> {
    const { link, queue, onWaiting } = this.#options;
    try {
      await this.declare(DECLARE_MS);
      const channel = await model.createConfirmChannel();
      if (this.#isClosed || link.model !== model) return;
      let cause: Error | undefined;
      channel.on('error', (error: Error) => (cause = error));
      channel.on('close', () => {
        const { state } = session;
        if (state === 'ended') return;
        session.state = 'ended';
        const reason = cause ?? new Error(`the channel of ${queue} was closed`);
        // One who has not led has nothing to fence, and what was refused (no right to publish, say) will be refused again.
        if (state === 'waiting') void this.#refused(model, reason);
        else if (link.model === model) link.abandon(reason);
      });
      const session: Session = {
        id: randomUUID(),
        channel,
        held: new Map(),
        notes: [],
        asking: [],
        state: 'waiting',
        written: 0,
        confirmed: 0,
      };
      this.#session = session;
      await channel.consume(REPLY_TO, (message) => this.#hear(session, message), { noAck: true });
      await channel.consume(queue, (message) => this.#receive(session, message), { noAck: false });
      if (this.#session !== session) return;
      onWaiting();
      this.#say(session, HELLO);
    } catch (error) {
      if (this.#session?.state !== 'ended') await this.#refused(model, toError(error));
    }
  }

  /** Tries again with a new connection, after a while. */
  async #refused(model: ChannelModel, cause: Error): Promise<void> {
    const { link, queue, logger } = this.#options;
    if (this.#isClosed || link.model !== model) return;
    logger.warn({ queue, code: codeOf(cause), error: cause.message }, 'beat: the queue of schedulers cannot be used yet');
    await sleep(retryDelayMs(this.#tries++));
    if (!this.#isClosed && link.model === model) link.abandon(cause);
  }

  #receive(session: Session, message: ConsumeMessage | null): void {
    if (session.state === 'ended') return;
    if (message === null) return this.#options.link.abandon(new Error(`${this.#options.queue} was deleted`));
    const { deliveryTag: tag } = message.fields;
    const { type, messageId, replyTo } = message.properties;
    const isOwn = messageId === session.id;
    if (type === NOTE) this.#receiveNote(session, tag, String(messageId), message.content);
    else session.channel.ack(message);
    if (type === HELLO && !isOwn && typeof replyTo === 'string') this.#asked(session, replyTo);
    if (session.state === 'waiting') {
      // Whoever is given anything is the active consumer. What else lies there comes before a word that is said now.
      session.state = 'reading';
      this.#say(session, MARK);
    } else if (session.state === 'reading' && type === MARK && isOwn) {
      session.state = 'active';
      this.#tries = 0;
      this.#options.onActive(session.notes.splice(0));
    }
  }

  #receiveNote(session: Session, tag: number, id: string, content: Buffer): void {
    if (id.startsWith(`${session.id} `)) {
      session.held.set(tag, Number(id.slice(session.id.length)));
      return this.#release(session);
    }
    session.held.set(tag, -1);
    if (session.state === 'active')
      this.#options.logger.warn({ queue: this.#options.queue }, 'beat: a note of another leader came late and is left out');
    else session.notes.push(content.toString('utf8'));
    this.#release(session);
  }

  /** Acknowledges what a confirmed note has taken the place of. */
  #release({ channel, held, confirmed, state }: Session): void {
    if (confirmed === 0 || state !== 'active') return;
    for (const [tag, number] of held) {
      if (number >= confirmed) continue;
      held.delete(tag);
      channel.ack({ fields: { deliveryTag: tag } } as ConsumeMessage);
    }
  }

  #asked(session: Session, replyTo: string): void {
    if (this.#lead !== null) this.#answer(session, replyTo, this.#lead);
    else if (session.asking.length < MOST_ASKING) session.asking.push(replyTo);
  }

  #answer({ channel }: Session, replyTo: string, lead: Lead): void {
    channel.publish('', replyTo, Buffer.from(JSON.stringify(lead)), { type: LEADS });
  }

  #hear(session: Session, message: ConsumeMessage | null): void {
    if (message === null || message.properties.type !== LEADS || session.state !== 'waiting') return;
    try {
      const { owner, epoch } = JSON.parse(message.content.toString('utf8')) as Partial<Lead>;
      if (typeof owner === 'string' && Number.isSafeInteger(epoch)) {
        this.#tries = 0;
        this.#options.onOther({ owner, epoch: epoch as number });
      }
    } catch {
      // no answer of ours
    }
  }

  #say({ channel, id }: Session, type: string): void {
    const options = { type, messageId: id, expiration: HELLO_TTL_MS, ...(type === HELLO && { replyTo: REPLY_TO }) };
    channel.publish('', this.#options.queue, Buffer.alloc(0), options);
  }
}

/** Publishes one message and waits for its confirm. */
function confirmed(channel: ConfirmChannel, queue: string, content: Buffer, options: Options.Publish): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      settle();
    };
    const late = new BrokerError('E_PUBLISH_TIMEOUT', `the broker did not confirm what was decided (${queue}) in time`);
    const timer = setTimeout(() => end(() => reject(late)), WRITE_MS);
    const refused = (cause: unknown): BrokerError =>
      new BrokerError('E_PUBLISH_FAILED', `what was decided (${queue}) could not be written: ${toError(cause).message}`, {
        cause,
      });
    try {
      channel.publish('', queue, content, options, (error: unknown) =>
        end(() => (error === null || error === undefined ? resolve() : reject(refused(error)))),
      );
    } catch (error) {
      end(() => reject(refused(error)));
    }
  });
}
