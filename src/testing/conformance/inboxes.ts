/** Broker suite: inboxes, in which the replies to control requests arrive. What they may hold at most is tested beside each driver. */
import { describe, expect } from 'vitest';
import type { Broker, Inbox } from '../../brokers/broker.js';
import { codeOf } from '../../core/errors.js';
import type { BrokerSuite } from './broker-fixture.js';
import { bodyBytes, message, uniqueQueue, until } from './broker-kit.js';

/** Celery's own exchange of replies. */
const REPLIES = 'reply.celery.pidbox';

/** An inbox and what came into it. */
interface Filled {
  readonly inbox: Inbox;
  readonly replies: string[];
}

export function inboxesSuite({ it, can, patienceMs }: BrokerSuite): void {
  const fill = async (broker: Broker): Promise<Filled> => {
    const replies: string[] = [];
    const inbox = await broker.openInbox(REPLIES, (reply) => replies.push(bodyBytes(reply).toString()));
    return { inbox, replies };
  };
  const reply = (broker: Broker, { inbox }: Filled, data: string): Promise<void> =>
    broker.sendReply(inbox.address, message('reply', { body: { encoding: 'utf8', data } }));
  const filled = (one: Filled, count: number): Promise<void> =>
    until(
      () => one.replies.length >= count,
      () => `${count} replies, got ${one.replies.length}`,
      patienceMs,
    );

  describe('inbox', () => {
    it('gets what is sent to its address, from any connection, in order, and nothing else', async (fixture) => {
      const other = await fixture.another();
      const [mine, yours] = [await fill(fixture.broker), await fill(other)];
      expect(mine.inbox.address.exchange).toBe(REPLIES);
      expect(mine.inbox.address.routingKey).not.toBe(yours.inbox.address.routingKey);
      await reply(other, yours, '"for you"');
      for (const number of [1, 2, 3]) await reply(other, mine, `{"n":${number},"note":"naïve 🌿"}`);
      await filled(mine, 3);
      await filled(yours, 1);
      expect(mine.replies).toEqual([1, 2, 3].map((number) => `{"n":${number},"note":"naïve 🌿"}`));
      expect(yours.replies).toEqual(['"for you"']);
    });

    it('gives the whole message, headers and binary bodies included', async (fixture) => {
      const got: { headers: unknown; body: Buffer }[] = [];
      const inbox = await fixture.broker.openInbox(REPLIES, (one) => got.push({ headers: one.headers, body: bodyBytes(one) }));
      const bytes = Buffer.from([0, 255, 128, 10]);
      await fixture.broker.sendReply(
        inbox.address,
        message('x', { headers: { ticket: 't-1', clock: 42 }, body: { encoding: 'binary', data: bytes } }),
      );
      await until(() => got.length > 0, 'the reply', patienceMs);
      expect(got).toEqual([{ headers: expect.objectContaining({ ticket: 't-1', clock: 42 }), body: bytes }]);
    });

    it('takes many replies at once, large ones among them', async (fixture) => {
      const mine = await fill(fixture.broker);
      const other = await fixture.another();
      const large = JSON.stringify('x'.repeat(300_000));
      await Promise.all(
        Array.from({ length: 60 }, (_, index) =>
          reply(index % 2 ? other : fixture.broker, mine, index === 7 ? large : `${index}`),
        ),
      );
      await filled(mine, 60);
      expect(new Set(mine.replies)).toEqual(
        new Set([large, ...Array.from({ length: 60 }, (_, index) => `${index}`).filter((text) => text !== '7')]),
      );
    });

    it('once closed hears nothing more, and whoever replies to it does so in peace', async (fixture) => {
      const [mine, witness] = [await fill(fixture.broker), await fill(fixture.broker)];
      await mine.inbox.close();
      await mine.inbox.close();
      await reply(fixture.broker, mine, '"late"');
      await reply(await fixture.another(), mine, '"late"');
      await reply(fixture.broker, witness, '"last"');
      await filled(witness, 1);
      expect(mine.replies).toEqual([]);
    });

    it('need not have existed for a reply to be dropped in peace', async (fixture) => {
      await fixture.broker.sendReply({ exchange: REPLIES, routingKey: uniqueQueue('nobody') }, message('x'));
    });

    it('is no listener: broadcasts pass it by, and it is not counted', async (fixture) => {
      const mine = await fill(fixture.broker);
      const count = await fixture.broker.broadcast({ exchange: 'celery.pidbox', routingKey: '', message: message('x') });
      expect([0, null]).toContain(count);
      await reply(fixture.broker, mine, '"reply"');
      await filled(mine, 1);
      expect(mine.replies).toEqual(['"reply"']);
    });

    it('ends with its broker', async (fixture) => {
      const leaving = await fixture.another();
      const mine = await fill(leaving);
      await leaving.close();
      await reply(fixture.broker, mine, '"late"');
      expect(mine.replies).toEqual([]);
      await mine.inbox.close();
      const failed = async (work: Promise<unknown>): Promise<unknown> => work.then(() => null, codeOf);
      expect(await failed(leaving.openInbox(REPLIES, () => {}))).toBe('E_CLOSED');
      expect(await failed(leaving.sendReply(mine.inbox.address, message('x')))).toBe('E_CLOSED');
    });

    can('connections', 'works again at the same address after its connection was lost', async (fixture) => {
      const mine = await fill(fixture.broker);
      const other = await fixture.another();
      await reply(other, mine, '"before"');
      await filled(mine, 1);
      await fixture.breakConnections?.();
      // what is sent while it is away is lost, as replies may be: only a later one shows that it is back
      let number = 0;
      await until(
        async () => {
          number += 1;
          await reply(other, mine, `"after ${number}"`).catch(() => {});
          return mine.replies.length > 1;
        },
        'a reply after the break',
        patienceMs,
      );
      expect(mine.replies[1]).toMatch(/after \d+/);
    });
  });
}
