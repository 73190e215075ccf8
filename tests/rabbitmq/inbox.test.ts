/** What inboxes leave on RabbitMQ: Celery's queue names, bounded, and nothing once their owner is gone. */
import { expect, test } from 'vitest';
import { INBOX_LIMITS } from '../../src/brokers/broker.js';
import { message, until } from '../../src/testing/conformance/broker-kit.js';
import { onPrivateNode } from './private-node.js';

const REPLIES = 'reply.celery.pidbox';

interface QueueRow {
  readonly name: string;
  readonly durable: boolean;
  readonly auto_delete: boolean;
  readonly exclusive: boolean;
  readonly arguments: readonly (readonly [name: string, type: string, value: number])[];
}

onPrivateNode('RabbitMQ inboxes', (node) => {
  const inboxes = (): QueueRow[] =>
    (
      JSON.parse(
        node.server.ctl('list_queues', 'name', 'durable', 'auto_delete', 'exclusive', 'arguments', '--formatter', 'json'),
      ) as QueueRow[]
    ).filter(({ name }) => name.endsWith(REPLIES));

  test('an inbox has the name that Celery gives a reply queue, and limits of its own', { timeout: 60_000 }, async () => {
    const { broker } = await node.open();
    const { address } = await broker.openInbox(REPLIES, () => {});
    const [queue, ...others] = inboxes();
    expect(others).toEqual([]);
    expect(queue).toMatchObject({
      name: `${address.routingKey}.${REPLIES}`,
      durable: false,
      auto_delete: true,
      exclusive: false,
    });
    expect(Object.fromEntries((queue?.arguments ?? []).map(([name, , value]) => [name, value]))).toEqual({
      'x-expires': INBOX_LIMITS.ttlMs,
      'x-message-ttl': INBOX_LIMITS.ttlMs,
      'x-max-length': INBOX_LIMITS.messages,
      'x-max-length-bytes': INBOX_LIMITS.bytes,
    });
  });

  test('an inbox goes with its owner, and who replies to it then does so in peace', { timeout: 60_000 }, async () => {
    const { broker } = await node.open();
    const { broker: other } = await node.open();
    const inbox = await broker.openInbox(REPLIES, () => {});
    await inbox.close();
    await until(() => inboxes().length === 0, 'the queue to be gone');
    await other.sendReply(inbox.address, message('late'));
    expect(inboxes()).toEqual([]);
  });
});
