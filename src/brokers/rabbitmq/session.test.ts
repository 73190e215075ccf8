import { expect, test } from 'vitest';
import type { AmqpLink, Channel } from '../../clients/amqp.js';
import { silentLogger } from '../../core/logger.js';
import { ConsumerTimeout } from './consumer-timeout.js';
import { Session } from './session.js';

const events = {
  onDelivery: () => undefined,
  onCancelled: () => undefined,
  onOrphansCancelled: () => undefined,
  onAlive: () => undefined,
};

test('a queue that refuses the argument for its timeout, as classic ones of RabbitMQ 4.3 do, is consumed without it by the next session', async () => {
  const subscribed: unknown[] = [];
  // Such a broker closes the channel with this answer, so each session has a channel of its own.
  const channel = (): Channel =>
    ({
      prefetch: async () => undefined,
      consume: async (queue: string, _: unknown, options: { readonly arguments: object }) => {
        if (queue === 'classic' && 'x-consumer-timeout' in options.arguments)
          throw Object.assign(
            new Error(
              "PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'classic' in vhost '/' of queue type rabbit_classic_queue",
            ),
            {
              code: 406,
            },
          );
        subscribed.push([queue, options.arguments]);
        return { consumerTag: queue };
      },
    }) as unknown as Channel;
  const link = { serverVersion: '4.3.0' } as AmqpLink;
  const timeout = new ConsumerTimeout(1_800_000, silentLogger);

  await expect(new Session(link, channel(), timeout, events).subscribe('classic', 1)).rejects.toMatchObject({ code: 406 });
  const second = new Session(link, channel(), timeout, events);
  await second.subscribe('classic', 1);
  await second.subscribe('quorum', 1);
  expect(subscribed).toEqual([
    ['classic', {}],
    ['quorum', { 'x-consumer-timeout': 604_800_000 }],
  ]);
});
