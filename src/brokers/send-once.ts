/**
 * Dedupe keys, whatever the broker does about them. Where it has no place for such keys the result store keeps them, if everybody
 * who sends shares it; and drivers that take them another way than other messages send the two apart.
 */
import { setMaxListeners } from 'node:events';
import { sleep } from '../core/clock.js';
import { codeOf, PublishError, toError } from '../core/errors.js';
import { inTime } from '../core/in-time.js';
import type { SendKeyStore } from '../core/send-keys.js';
import type { Broker, DedupeKey, OutgoingMessage, PublishOptions, PublishResult } from './broker.js';
import { duplicateOf, idOf } from './duplicate.js';

type Publish = (messages: readonly OutgoingMessage[], options: PublishOptions) => Promise<readonly PublishResult[]>;

/** Each message goes its way, and the results come back in order. @param once publishes those with a dedupe key */
export async function publishApart(
  messages: readonly OutgoingMessage[],
  options: PublishOptions,
  plainly: Publish,
  once: Publish,
): Promise<readonly PublishResult[]> {
  // Nearly always none has a key.
  if (messages.every(({ dedupe }) => dedupe === undefined)) return plainly(messages, options);
  const keyed = messages.filter(({ dedupe }) => dedupe !== undefined);
  if (keyed.length === messages.length) return once(messages, options);
  const plain = messages.filter(({ dedupe }) => dedupe === undefined);
  const [keyedResults, plainResults] = await Promise.all([once(keyed, options), plainly(plain, options)]);
  let nextKeyed = 0;
  let nextPlain = 0;
  return messages.map(({ dedupe }) => (dedupe === undefined ? plainResults[nextPlain++] : keyedResults[nextKeyed++]) ?? null);
}

/** As `broker.publish`, and honours dedupe keys on every broker. */
export function publishOnce(
  broker: Broker,
  openStore: () => Promise<SendKeyStore>,
  messages: readonly OutgoingMessage[],
  options: PublishOptions,
): Promise<readonly PublishResult[]> {
  if (broker.capabilities.dedupe === true) return broker.publish(messages, options);
  return publishApart(
    messages,
    options,
    (plain) => broker.publish(plain, options),
    (keyed) => throughStore(broker, openStore, keyed, options),
  );
}

/** Sends with the same key that meet one which is under way wait for it, looking again so often. */
const LOOK_AGAIN_MS = 30;
/** A send that died with its process holds the key for so much longer than it could have taken. */
const PENDING_MARGIN_MS = 5_000;
/** What stands in the store: whether its send is under way (`p`), arrived (`s`) or may have (`u`), and the id. */
type KeyState = 'p' | 's' | 'u';

async function throughStore(
  broker: Broker,
  openStore: () => Promise<SendKeyStore>,
  messages: readonly OutgoingMessage[],
  options: PublishOptions,
): Promise<readonly PublishResult[]> {
  const endMs = performance.now() + options.timeoutMs;
  const refused = (code: PublishError['code'], why: string, cause?: unknown): readonly PublishError[] =>
    messages.map((message) => new PublishError(code, why, { outcome: 'not-sent', taskId: idOf(message), cause }));
  try {
    const store = await inTime(openStore(), {
      ...options,
      ...failures('the result store, which keeps its dedupe key, could not be reached in time'),
    });
    const { sendKeys } = store.capabilities;
    if (sendKeys !== true)
      return refused(
        'E_CONFIG_CONFLICT',
        `dedupe: ${broker.capabilities.dedupe as string}, and here that is ${store.name}: ${sendKeys}`,
      );
    // Each of them listens to it, and it may be the caller's own.
    const own = options.signal && ownSignal(options.signal);
    const work = messages.map((message) =>
      new KeyedSend(broker, store, message, { ...options, ...(own && { signal: own.signal }) }, endMs).carryOut(),
    );
    return await Promise.all(work).finally(own?.release);
  } catch (error) {
    return refused(codeOf(error) ?? 'E_PUBLISH_FAILED', toError(error).message, error);
  }
}

/** A signal that aborts with the given one, and that many may listen to. */
function ownSignal(given: AbortSignal): { readonly signal: AbortSignal; readonly release: () => void } {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  const onAbort = (): void => controller.abort(given.reason);
  if (given.aborted) onAbort();
  given.addEventListener('abort', onAbort, { once: true });
  return { signal: controller.signal, release: () => given.removeEventListener('abort', onAbort) };
}

/** One message whose key is in the result store. Each on its own: of a batch, one may wait for another. */
class KeyedSend {
  readonly #broker: Broker;
  readonly #store: SendKeyStore;
  readonly #outgoing: OutgoingMessage;
  readonly #options: PublishOptions;
  readonly #endMs: number;
  readonly #id: string;
  readonly #dedupe: DedupeKey;

  constructor(broker: Broker, store: SendKeyStore, outgoing: OutgoingMessage, options: PublishOptions, endMs: number) {
    this.#broker = broker;
    this.#store = store;
    this.#outgoing = outgoing;
    this.#options = options;
    this.#endMs = endMs;
    this.#id = idOf(outgoing);
    this.#dedupe = outgoing.dedupe as DedupeKey;
  }

  async carryOut(): Promise<PublishResult> {
    try {
      const taken = await this.#take();
      return typeof taken === 'string' ? await this.#publish(taken) : taken.result;
    } catch (error) {
      const { message } = toError(error);
      return new PublishError(codeOf(error) ?? 'E_PUBLISH_FAILED', `its dedupe key could not be taken: ${message}`, {
        ...{ outcome: 'not-sent', taskId: this.#id, cause: error },
      });
    }
  }

  /** Takes the key. What stood there before, `''` for nothing; or a result, for somebody else has it or the message is there already. */
  async #take(): Promise<string | { readonly result: PublishResult }> {
    const pending = { value: `p${this.#id}`, ttlMs: this.#leftMs() + PENDING_MARGIN_MS };
    for (let expected: string | null = null; ; ) {
      const there = await this.#swap(expected, pending.value, pending.ttlMs);
      if (there === null) return expected ?? '';
      const [state, holder] = [there.slice(0, 1), there.slice(1)];
      expected = null;
      if (there === '') continue;
      if (holder === this.#id) {
        if (state === 's') return { result: null };
        // an earlier try of ours, that ended or will end as we do
        expected = there;
      } else if (state !== 'p') return { result: duplicateOf(this.#outgoing, holder) };
      else await sleep(Math.min(LOOK_AGAIN_MS, this.#leftMs()), this.#options.signal);
    }
  }

  async #publish(before: string): Promise<PublishResult> {
    const { dedupe: _kept, ...plain } = this.#outgoing;
    const [result] = await this.#broker.publish([plain], { ...this.#options, timeoutMs: this.#leftMs() });
    if (result === null || result === undefined) await this.#settle('s');
    // If an earlier try may have arrived, that this one did not proves nothing.
    else if (result.outcome === 'unknown' || before !== '') await this.#settle('u');
    else await this.#settle(null);
    return result ?? null;
  }

  /** What is known of the send stands beside its key. If that cannot be written, the key ends by itself soon. */
  async #settle(state: KeyState | null): Promise<void> {
    const value = state === null ? null : `${state}${this.#id}`;
    const { key, ttlMs } = this.#dedupe;
    const swap = { key, expected: `p${this.#id}`, value, ttlMs };
    const swapped = Promise.resolve(this.#store.swapSendKey?.(swap));
    await inTime(swapped, { timeoutMs: PENDING_MARGIN_MS, ...failures('late') }).catch(() => {});
  }

  #swap(expected: string | null, value: string, ttlMs: number): Promise<string | null> {
    const { swapSendKey } = this.#store;
    if (swapSendKey === undefined) throw new TypeError(`the result store ${this.#store.name} has no swapSendKey()`);
    const swap = { key: this.#dedupe.key, expected, value, ttlMs };
    const { signal } = this.#options;
    const work = swapSendKey.call(this.#store, swap);
    return inTime(work, {
      timeoutMs: this.#leftMs(),
      signal,
      ...failures(`the result store ${this.#store.name} did not answer in time`),
    });
  }

  /** @throws PublishError `E_PUBLISH_TIMEOUT` when nothing is left */
  #leftMs(): number {
    const leftMs = this.#endMs - performance.now();
    if (leftMs > 0) return leftMs;
    throw new PublishError('E_PUBLISH_TIMEOUT', 'the time given to send() is over; another send with the key may be under way', {
      ...{ outcome: 'not-sent', taskId: this.#id },
    });
  }
}

/** Why nothing was sent. */
function failures(late: string) {
  return {
    onLate: () => new PublishError('E_PUBLISH_TIMEOUT', late, { outcome: 'not-sent' }),
    onAbort: (cause: unknown) => new PublishError('E_PUBLISH_FAILED', 'the send was aborted', { outcome: 'not-sent', cause }),
  };
}
