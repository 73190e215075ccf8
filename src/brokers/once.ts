/**
 * For drivers that take dedupe keys another way than other messages: each message goes its way, and the results come back in order.
 */
import type { OutgoingMessage, PublishOptions, PublishResult } from './broker.js';

type Publish = (messages: readonly OutgoingMessage[], options: PublishOptions) => Promise<readonly PublishResult[]>;

/** @param once publishes those with a dedupe key */
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
