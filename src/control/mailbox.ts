/**
 * A worker's ear for remote control (wire section 8): hears requests, runs those that are meant for it, and replies. It knows
 * nothing of what the commands do. Garbage is counted and passed over: nobody could be told.
 *
 * Bounded: so many commands under way at once, each reply within its size (`reply.ts`). Next stop: `commands/table.ts`.
 */
import type { Broadcast, Broker, Subscription } from '../brokers/broker.js';
import { reconnectDelayMs } from '../core/backoff.js';
import { sleep } from '../core/clock.js';
import { codeOf, toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import {
  type ControlRequest,
  controlExchange,
  decodeControlRequest,
  isAddressedTo,
  OUR_WORKERS,
} from '../wire/control-message.js';
import { CommandError, type ControlCommand, checkArguments, errorText, NO_REPLY } from './command.js';
import { COMMANDS } from './commands/table.js';
import type { LamportClock } from './lamport-clock.js';
import { makeReply } from './reply.js';
import type { WorkerPort } from './worker-port.js';

/** Commands under way: most end at once, those that run user code may take a while. */
const MOST_RUNNING = 64;
const LONGEST_METHOD = 255;

export interface MailboxOptions {
  readonly broker: Broker;
  readonly port: WorkerPort;
  readonly clock: LamportClock;
  readonly logger: Logger;
  /** @defaultValue all of `commands/table.ts` */
  readonly commands?: ReadonlyMap<string, ControlCommand>;
}

export class Mailbox {
  /** Messages that were no requests. */
  ignored = 0;
  readonly #options: MailboxOptions;
  readonly #commands: ReadonlyMap<string, ControlCommand>;
  readonly #closing = new AbortController();
  #subscription: Subscription | null = null;
  #opening: Promise<void> | null = null;
  #running = 0;

  constructor(options: MailboxOptions) {
    this.#options = options;
    this.#commands = options.commands ?? COMMANDS;
  }

  /** Begins to listen. Resolves after the first try: a worker works without, and it goes on trying. Never rejects. */
  open(): Promise<void> {
    return new Promise((triedOnce) => {
      this.#opening ??= this.#open(triedOnce);
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#opening;
    await this.#subscription?.close();
    this.#subscription = null;
  }

  async #open(triedOnce: () => void): Promise<void> {
    const { broker, logger } = this.#options;
    const { signal } = this.#closing;
    for (let tries = 0; !signal.aborted; tries += 1) {
      try {
        this.#subscription = await broker.listen(controlExchange(), '', (broadcast) => this.#hear(broadcast));
        return triedOnce();
      } catch (error) {
        triedOnce();
        if (codeOf(error) === 'E_CLOSED') return;
        if (tries === 0) logger.warn({ error: toError(error).message }, 'remote control cannot be heard; trying again');
        await sleep(reconnectDelayMs(tries, Math.random(), 30_000), signal).catch(() => {});
      }
    }
  }

  #hear({ message }: Broadcast): void {
    const { port, clock, logger } = this.#options;
    let request: ControlRequest;
    try {
      request = decodeControlRequest(message);
    } catch (error) {
      this.ignored += 1;
      logger.debug({ error: toError(error).message }, 'a control message that is none was ignored');
      return;
    }
    clock.adjust(request.clock);
    const isForUs = isAddressedTo(request, port.nodeName) || request.destination?.includes(OUR_WORKERS) === true;
    if (this.#closing.signal.aborted || !isForUs) return;
    logger.debug({ method: request.method.slice(0, LONGEST_METHOD), wantsReply: request.replyTo !== null }, 'remote control');
    void this.#answer(request);
  }

  async #answer(request: ControlRequest): Promise<void> {
    const { broker, port, clock, logger } = this.#options;
    const value = await this.#run(request);
    const { replyTo } = request;
    if (value === NO_REPLY || replyTo === null) return;
    const { exchange, routingKey, message } = makeReply(port.nodeName, value, { ...request, replyTo }, clock);
    try {
      await broker.sendReply({ exchange, routingKey }, message);
    } catch (error) {
      logger.warn({ method: request.method, error: toError(error).message }, 'a reply to remote control could not be sent');
    }
  }

  /** Never rejects: what goes wrong is the answer. */
  async #run(request: ControlRequest): Promise<unknown> {
    const { port, clock, logger } = this.#options;
    const method = request.method.slice(0, LONGEST_METHOD);
    if (this.#running >= MOST_RUNNING) {
      const error = new CommandError('RuntimeError', `${this.#running} commands are under way: try again later`);
      return { error: errorText(error) };
    }
    this.#running += 1;
    try {
      const command = this.#commands.get(method);
      if (!command && port.custom.has(method)) return await port.custom.run(method, request.arguments);
      if (!command) throw new CommandError('KeyError', method);
      checkArguments(command, request.arguments);
      return await command.run(request.arguments, { port, clock, logger });
    } catch (error) {
      logger.warn({ method, error: toError(error).message }, 'a remote command failed');
      return { error: errorText(error) };
    } finally {
      this.#running -= 1;
    }
  }
}
