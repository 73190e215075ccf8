/** Fanout over PUB/SUB, as kombu does it (wire section 4.7): control requests and events. Who does not listen misses it. */

import { randomUUID } from 'node:crypto';
import { decodeEnvelope, encodeEnvelope } from '../../wire/redis-envelope.js';
import type { Broadcast, Subscription } from '../broker.js';
import { topicMatcher } from '../topic-pattern.js';
import { escapeGlob } from './admin.js';
import type { RedisLinks } from './connection.js';

/** How long a broadcast, a reply or a subscription waits for a connection. */
export const REACH_MS = 5_000;

/** Resolves with the number of connections that listen, as the server counts them. */
export async function sendBroadcast(links: RedisLinks, broadcast: Broadcast): Promise<number> {
  const { exchange, routingKey, message } = broadcast;
  const channel = `${links.keys.channels}${exchange}${routingKey === '' ? '' : `/${routingKey}`}`;
  await links.commands.whenReady(REACH_MS);
  const envelope = encodeEnvelope(message, { exchange, routingKey, deliveryTag: randomUUID() });
  return (await links.commands.call('publish', [channel, envelope])) as number;
}

/**
 * Subscribes by a glob that covers the pattern and filters by AMQP's rules, because a glob's `*` also crosses dots.
 *
 * No binding is written for a listener, unlike kombu: only publishers that take the exchange for a direct one would read
 * it, and they would then fill a list that nobody reads.
 */
export async function addListener(
  links: RedisLinks,
  exchange: string,
  pattern: string,
  onBroadcast: (broadcast: Broadcast) => void,
): Promise<Subscription> {
  const matches = topicMatcher(pattern);
  const base = `${links.keys.channels}${exchange}`;
  const fixed = /^[^*#]*/.exec(pattern)?.[0] ?? '';
  // `worker.#` is also matched by `worker`, `#` by a channel without routing key
  const beforeDot = fixed.endsWith('.') ? fixed.slice(0, -1) : fixed;
  const isExact = fixed.length === pattern.length;
  const globs = isExact
    ? [escapeGlob(pattern === '' ? base : `${base}/${pattern}`)]
    : beforeDot === ''
      ? [escapeGlob(base), `${escapeGlob(base)}/*`]
      : [`${escapeGlob(`${base}/${beforeDot}`)}*`];
  const handler = (channel: string, payload: Buffer): void => {
    const routingKey = channel.slice(base.length + 1);
    if (!matches(routingKey)) return;
    let broadcast: Broadcast;
    try {
      broadcast = { exchange, routingKey, message: decodeEnvelope(payload).message };
    } catch (error) {
      links.logger.warn({ channel, cause: String(error) }, 'redis: a broadcast that is no message was ignored');
      return;
    }
    onBroadcast(broadcast);
  };
  const added: string[] = [];
  const close = async (): Promise<void> => {
    for (const glob of added.splice(0)) await links.removePattern(glob, handler);
  };
  try {
    for (const glob of globs) {
      await links.addPattern(glob, handler, REACH_MS);
      added.push(glob);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}
