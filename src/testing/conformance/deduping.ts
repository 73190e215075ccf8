/** Broker suite: dedupe keys. One message a key and window, whoever sends, however many at once, and whatever fails. */
import { describe, expect } from 'vitest';
import type { Broker, OutgoingMessage, PublishResult } from '../../brokers/broker.js';
import type { DuplicateSendError } from '../../core/errors.js';
import type { BrokerFixture, BrokerSuite } from './broker-fixture.js';
import { drain, expectDepth, failures, ids, outgoing, send, sendIds, uniqueQueue, untilWall } from './broker-kit.js';

const HOUR_MS = 3_600_000;

function keyed(queue: string, id: string, key: string, ttlMs = HOUR_MS): OutgoingMessage {
  return outgoing(queue, id, { dedupe: { key: `${queue}:${key}`, ttlMs } });
}

function publish(broker: Broker, ...messages: OutgoingMessage[]): Promise<readonly PublishResult[]> {
  return broker.publish(messages, { timeoutMs: 10_000 });
}

/** The id that kept this message out; `null`: it was sent. */
function heldBy(result: PublishResult | undefined): string | null {
  if (!result) return null;
  expect(result).toMatchObject({ code: 'E_DUPLICATE_SEND', outcome: 'not-sent' });
  return (result as DuplicateSendError).existingId;
}

export function dedupingSuite({ can }: BrokerSuite): void {
  describe('dedupe keys', () => {
    can('dedupe', 'let one message of a key in, and tell the others its id', async ({ broker, another }) => {
      const queue = uniqueQueue('once');
      const other = await another();
      const first = await publish(broker, keyed(queue, 'a', 'k'), keyed(queue, 'b', 'k'), keyed(queue, 'c', 'other'));
      expect(first.map(heldBy)).toEqual([null, 'a', null]);
      expect(first[1]?.taskId).toBe('b');
      expect((await publish(other, keyed(queue, 'd', 'k'))).map(heldBy)).toEqual(['a']);
      expect(await drain(broker, queue, 2)).toEqual(['a', 'c']);
      await expectDepth(broker, queue, { ready: 0 });
      // the window is one of time: that the message is gone ends nothing
      expect((await publish(other, keyed(queue, 'e', 'k'))).map(heldBy)).toEqual(['a']);
    });

    can('dedupe', 'leave messages without a key alone, in the same batch too', async ({ broker }) => {
      const queue = uniqueQueue('mixed');
      const results = await publish(
        broker,
        outgoing(queue, 'a'),
        keyed(queue, 'b', 'k'),
        outgoing(queue, 'c'),
        keyed(queue, 'd', 'k'),
        outgoing(queue, 'e'),
      );
      expect(results.map(heldBy)).toEqual([null, null, null, 'b', null]);
      expect((await drain(broker, queue, 4)).sort()).toEqual(['a', 'b', 'c', 'e']);
    });

    can(
      'dedupe',
      'confirm the same id again and send it once: an unknown outcome can be cleared up',
      async ({ broker, another }) => {
        const queue = uniqueQueue('again');
        expect(await publish(broker, keyed(queue, 'a', 'k'))).toEqual([null]);
        expect(await publish(await another(), keyed(queue, 'a', 'k'), keyed(queue, 'a', 'k'))).toEqual([null, null]);
        expect(await drain(broker, queue, 1)).toEqual(['a']);
        await expectDepth(broker, queue, { ready: 0 });
      },
    );

    can('dedupe', 'let one of 1,000 through that come at once over several connections', async ({ broker, another }) => {
      const queue = uniqueQueue('thousand');
      const brokers = [broker, await another(), await another(), await another()];
      const sends = ids(queue, 1, 1_000).map((id, at) => publish(brokers[at % brokers.length] as Broker, keyed(queue, id, 'k')));
      const results = (await Promise.all(sends)).flat().map(heldBy);
      const sent = ids(queue, 1, 1_000).filter((_, at) => results[at] === null);
      expect(sent).toHaveLength(1);
      expect(new Set(results.filter((holder) => holder !== null))).toEqual(new Set(sent));
      expect(await drain(broker, queue, 1)).toEqual(sent);
      await expectDepth(broker, queue, { ready: 0 });
    });

    can('dedupe', 'end with their time', async ({ broker }) => {
      const queue = uniqueQueue('window');
      expect((await publish(broker, keyed(queue, 'a', 'k', 400))).map(heldBy)).toEqual([null]);
      const sentMs = Date.now();
      expect((await publish(broker, keyed(queue, 'b', 'k', 400))).map(heldBy)).toEqual(['a']);
      await untilWall(sentMs + 450);
      expect((await publish(broker, keyed(queue, 'c', 'k', 400))).map(heldBy)).toEqual([null]);
      expect(await drain(broker, queue, 2)).toEqual(['a', 'c']);
    });

    can('dedupe', 'hold for messages that wait for a time, too', async ({ broker }) => {
      const queue = uniqueQueue('later');
      const atMs = Date.now() + 500;
      const later = { ...keyed(queue, 'a', 'k'), notBeforeMs: atMs };
      expect((await publish(broker, later, { ...keyed(queue, 'b', 'k'), notBeforeMs: atMs })).map(heldBy)).toEqual([null, 'a']);
      expect(await drain(broker, queue, 1)).toEqual(['a']);
    });

    can('dedupe', 'are not taken by what was not sent', async ({ broker }) => {
      const queue = uniqueQueue('refused');
      const [aborted] = failures(
        await broker.publish([keyed(queue, 'a', 'k')], { timeoutMs: 5_000, signal: AbortSignal.abort(new Error('enough')) }),
      );
      expect(aborted).toEqual({ code: 'E_PUBLISH_FAILED', outcome: 'not-sent' });
      expect((await publish(broker, keyed(queue, 'b', 'k'))).map(heldBy)).toEqual([null]);
      expect(await drain(broker, queue, 1)).toEqual(['b']);
    });

    can('outage', 'make one message of a send that is repeated after an outage', async (fixture) => {
      const { broker } = fixture;
      if (broker.capabilities.dedupe !== true) return;
      const queue = uniqueQueue('outage');
      await sendIds(broker, queue, ['before']);
      const end = await (fixture.outage as NonNullable<BrokerFixture['outage']>)();
      const [late] = failures(await broker.publish([keyed(queue, 'a', 'k')], { timeoutMs: 600 }).finally(end));
      expect(late?.code).toBe('E_PUBLISH_TIMEOUT');
      await send(broker, [keyed(queue, 'a', 'k')]);
      expect((await publish(broker, keyed(queue, 'b', 'k'))).map(heldBy)).toEqual(['a']);
      expect(await drain(broker, queue, 2)).toEqual(['before', 'a']);
      await expectDepth(broker, queue, { ready: 0 });
    });

    can('connections', 'hold while connections break: each message is there once', async (fixture) => {
      const { broker } = fixture;
      if (broker.capabilities.dedupe !== true) return;
      const queue = uniqueQueue('breaking');
      const wanted = ids(queue, 1, 300);
      const sends: Promise<readonly PublishResult[]>[] = [];
      for (const [at, id] of wanted.entries()) {
        sends.push(publish(broker, keyed(queue, id, id)));
        if (at % 60 === 59) await fixture.breakConnections?.();
        if (at % 20 === 19) await new Promise((resolve) => setImmediate(resolve));
      }
      expect((await Promise.all(sends)).flat().map(heldBy)).toEqual(wanted.map(() => null));
      expect((await drain(broker, queue, wanted.length)).sort()).toEqual([...wanted].sort());
      await expectDepth(broker, queue, { ready: 0 });
    });
  });
}
