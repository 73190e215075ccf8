/**
 * A channel for declarations and questions, one operation at a time. In AMQP a wrong question (a queue that is missing or has
 * other arguments) closes its channel, so these never share one with publishes or deliveries; the next operation gets a fresh one.
 */
import { BrokerError, codeOf, toError } from '../core/errors.js';
import type { AmqpLink, Channel, ChannelModel } from './amqp.js';

/** Codes that a broker closes a channel with. */
export const AMQP_FORBIDDEN = 403;
export const AMQP_NOT_FOUND = 404;
export const AMQP_RESOURCE_LOCKED = 405;
export const AMQP_PRECONDITION_FAILED = 406;

/** The AMQP reply code of an error, if it has one. */
export function amqpCode(error: unknown): number | undefined {
  const code = (error as { readonly code?: unknown } | null)?.code;
  return typeof code === 'number' ? code : undefined;
}

/** Runs operations one after the other on a channel that is made when needed. */
export class SetupChannel {
  readonly #link: AmqpLink;
  #channel: { readonly model: ChannelModel; readonly channel: Channel } | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(link: AmqpLink) {
    this.#link = link;
  }

  /**
   * Runs `operation` with a channel of its own; at most `timeoutMs`, waiting for its turn and for a connection included.
   * @throws what the operation threw (`amqpCode` tells the broker's refusals), or BrokerError `E_BROKER_UNREACHABLE`, `E_CONNECTION_LOST`
   */
  run<T>(timeoutMs: number, operation: (channel: Channel) => Promise<T>): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    const turn = this.#tail.then(() => this.#attempt(deadline, operation));
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  async #attempt<T>(deadline: number, operation: (channel: Channel) => Promise<T>): Promise<T> {
    const model = await this.#link.connected(Math.max(deadline - performance.now(), 1));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new BrokerError('E_CONNECTION_LOST', 'the broker did not answer a declaration in time');
      timer = setTimeout(() => reject(error), Math.max(deadline - performance.now(), 1));
    });
    try {
      return await Promise.race([late, this.#open(model).then(operation)]);
    } catch (error) {
      this.#drop();
      // The client's own words for a channel that went away ("Channel ended, no reply will be forthcoming") have no code.
      if (amqpCode(error) === undefined && codeOf(error) === undefined && this.#link.model !== model) {
        throw new BrokerError('E_CONNECTION_LOST', `the connection broke during a declaration: ${toError(error).message}`, {
          cause: error,
        });
      }
      throw error;
    } finally {
      clearTimeout(timer);
      late.catch(() => undefined);
    }
  }

  async #open(model: ChannelModel): Promise<Channel> {
    if (this.#channel?.model === model) return this.#channel.channel;
    const channel = await model.createChannel();
    channel.on('error', () => undefined); // told to the operation by its own rejection
    channel.on('close', () => {
      if (this.#channel?.channel === channel) this.#channel = undefined;
    });
    this.#channel = { model, channel };
    return channel;
  }

  #drop(): void {
    const held = this.#channel;
    this.#channel = undefined;
    // Already closed by the broker in most cases; then close() throws.
    if (held)
      void Promise.resolve()
        .then(() => held.channel.close())
        .catch((error: unknown) => void toError(error));
  }
}
