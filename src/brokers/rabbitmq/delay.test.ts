import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { topicMatcher } from '../topic-pattern.js';
import { delayBinding, delayBits, delayRoute, delayWord, LAST_STAGE, ladder, legMs, stages } from './delay.js';

interface Recorded {
  readonly exchanges: readonly { readonly name: string; readonly type: string; readonly durable: boolean }[];
  readonly queues: readonly { readonly name: string; readonly arguments: Record<string, unknown> }[];
  readonly bindings: readonly { readonly source: string; readonly destination: string; readonly routing_key: string }[];
}

describe('the delay ladder', () => {
  test('a delay becomes the 28 bits of its seconds in front of the queue', () => {
    expect(delayBits(10)).toBe(`${'0.'.repeat(24)}1.0.1.0`);
    expect(delayRoute(10_000, 'celery')).toEqual({
      exchange: 'celery_delayed_3',
      routingKey: `${'0.'.repeat(24)}1.0.1.0.celery`,
      stageMs: null,
    });
  });

  test('a delay goes in at the highest level that holds it, and not above, where each level would only hand it down', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 28 - 1 }), (seconds) => {
        const { exchange, routingKey } = delayRoute(seconds * 1_000, 'q');
        const level = Number(/^celery_delayed_(\d+)$/.exec(exchange)?.[1]);
        expect(routingKey.split('.').indexOf('1')).toBe(27 - level);
      }),
    );
    expect(delayRoute(1_000, 'q').exchange).toBe('celery_delayed_0');
    expect(delayRoute(2 ** 28 * 1_000 - 1_000, 'q').exchange).toBe('celery_delayed_27');
  });

  test('a stage leads to a level above which no delay that it is used for has a bit', () => {
    const ways = stages().flatMap((part) => (part.kind === 'queue' ? [part.arguments['x-dead-letter-exchange']] : []));
    expect(new Set(ways)).toEqual(new Set(['celery_delayed_2']));
    for (let delayMs = 1; delayMs < 20_000; delayMs += 1) {
      const { routingKey, stageMs } = delayRoute(delayMs, 'q');
      if (stageMs !== null) expect(routingKey.startsWith('0.'.repeat(25))).toBe(true);
    }
  });

  test('tenths of a second go through a stage of ours first, rounded up', () => {
    expect(delayRoute(200, 'q')).toMatchObject({ exchange: 'lovage_delay_200ms', stageMs: 200 });
    expect(delayRoute(1, 'q')).toMatchObject({ stageMs: 100 });
    expect(delayRoute(1_901, 'q')).toMatchObject({ exchange: 'celery_delayed_1', routingKey: `${'0.'.repeat(26)}1.0.q` });
    expect(delayRoute(7_901, 'q')).toMatchObject({ exchange: 'celery_delayed_3', stageMs: null });
    expect(delayRoute(8_001, 'q')).toMatchObject({ routingKey: `${'0.'.repeat(24)}1.0.0.1.q`, stageMs: null });
  });

  test('no delay is shorter than asked, and longer by less than a tenth of a second, of eight seconds or more by less than one', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 2 ** 37, noNaN: true }), (delayMs) => {
        const { routingKey, stageMs } = delayRoute(delayMs, 'q');
        const seconds = Number.parseInt(routingKey.split('.').slice(0, 28).join(''), 2);
        const waitsMs = seconds * 1_000 + (stageMs ?? 0);
        expect(waitsMs).toBeGreaterThanOrEqual(delayMs);
        expect(waitsMs - delayMs).toBeLessThan(delayMs < 8_000 ? 100 : 1_000);
      }),
    );
  });

  test('a delay beyond the ladder is the longest it can do', () => {
    expect(delayRoute(1e15, 'q').routingKey).toBe(`${'1.'.repeat(28)}q`);
  });

  describe('the first part of a long delay', () => {
    const NOW_MS = Date.UTC(2026, 0, 1);
    const dueAt = (ms: number) => ({ headers: { eta: new Date(ms).toISOString() } });
    const leg = (delayMs: number): number => legMs(dueAt(NOW_MS + delayMs), NOW_MS + delayMs, NOW_MS);

    test('is whole seconds, ends a second to 17 before the time, and leaves less at each part', () => {
      fc.assert(
        fc.property(fc.integer({ min: 5_000, max: 2 ** 37 }), (delayMs) => {
          const leftMs = delayMs - leg(delayMs);
          expect(leg(delayMs) % 1_000).toBe(0);
          expect(delayRoute(leg(delayMs), 'q').stageMs).toBeNull();
          expect(leftMs).toBeGreaterThanOrEqual(1_000);
          expect(leftMs).toBeLessThan(17_000);
          expect(leftMs).toBeLessThan(delayMs / 2);
        }),
      );
    });

    test('is all of it when the delay is short, so that four parts are the most, of years too', () => {
      expect(leg(4_999)).toBe(5_000);
      let parts = 0;
      for (let leftMs = 2 ** 37; leftMs > 0; leftMs -= leg(leftMs)) parts += 1;
      expect(parts).toBeLessThanOrEqual(4);
    });

    test('is all of it when nothing in the message would keep a worker from starting it early', () => {
      const untilMs = NOW_MS + 60_000;
      expect(legMs({ headers: {} }, untilMs, NOW_MS)).toBe(60_001);
      expect(legMs({ headers: { eta: null } }, untilMs, NOW_MS)).toBe(60_001);
      expect(legMs({ headers: { eta: 'soon' } }, untilMs, NOW_MS)).toBe(60_001);
      // put off for another reason than its own time: a pause, a rate limit
      expect(legMs(dueAt(untilMs - 1), untilMs, NOW_MS)).toBe(60_001);
      expect(legMs(dueAt(untilMs), untilMs, NOW_MS)).toBe(52_000);
    });
  });

  test('a binding takes the keys of its own queue, and of no other', () => {
    const queues = ['b', 'a.b', 'c.a.b', 'media.#', '*', 'x.*.y', '0', '1.b', 'é'.repeat(120), 'q'.repeat(255)];
    for (const bound of queues) {
      const matches = topicMatcher(delayBinding(bound));
      for (const queue of queues)
        expect(matches(delayRoute(5_300, queue).routingKey), `${bound} < ${queue}`).toBe(bound === queue);
    }
  });

  test('every queue name makes a routing key that fits AMQP', () => {
    for (const queue of ['q'.repeat(255), 'é'.repeat(127), 'plain']) {
      expect(Buffer.byteLength(delayRoute(1, queue).routingKey)).toBeLessThanOrEqual(255);
      expect(Buffer.byteLength(delayBinding(queue))).toBeLessThanOrEqual(255);
    }
    expect(delayWord('plain')).toBe('plain');
  });

  test('is declared from its end to its start, so that nothing can fall through a step that is missing', () => {
    const names = ladder().flatMap((part) => (part.kind === 'exchange' ? [part.name] : []));
    expect(names).toEqual(['celery_delayed_delivery', ...Array.from({ length: 28 }, (_, level) => `celery_delayed_${level}`)]);
    const queues = stages().flatMap((part) => (part.kind === 'queue' ? [part.name] : []));
    expect(queues).toEqual(Array.from({ length: 9 }, (_, tenth) => `lovage_delay_${(tenth + 1) * 100}ms`));
    expect(queues.at(-1)).toBe(LAST_STAGE);
    expect(
      stages()
        .map((part) => part.kind)
        .slice(0, 3),
    ).toEqual(['exchange', 'queue', 'bind-queue']);
  });

  test('is what a Celery 5.6 worker declares', () => {
    const vector = new URL('../../../tests/vectors/c-amqp-topology-quorum-delayed.json', import.meta.url);
    const recorded = (JSON.parse(readFileSync(vector, 'utf8')) as { wire: { topology: Recorded } }).wire.topology;
    const ours = ladder();
    const delayed = (name: string): boolean => name.startsWith('celery_delayed_');
    expect(new Map(ours.flatMap((part) => (part.kind === 'exchange' ? [[part.name, part.type]] : [])))).toEqual(
      new Map(recorded.exchanges.filter(({ name }) => delayed(name)).map(({ name, type }) => [name, type])),
    );
    expect(new Map(ours.flatMap((part) => (part.kind === 'queue' ? [[part.name, part.arguments]] : [])))).toEqual(
      new Map(recorded.queues.filter(({ name }) => delayed(name)).map((queue) => [queue.name, queue.arguments])),
    );
    const binding = (from: string, to: string, key: string): string => `${from} > ${to} by ${key}`;
    expect(
      ours
        .flatMap((part) => {
          if (part.kind === 'bind-queue') return [binding(part.exchange, part.queue, part.key)];
          return part.kind === 'bind-exchange' ? [binding(part.from, part.to, part.key)] : [];
        })
        .sort(),
    ).toEqual(
      recorded.bindings
        .filter(({ source, destination }) => delayed(source) && delayed(destination))
        .map(({ source, destination, routing_key }) => binding(source, destination, routing_key))
        .sort(),
    );
  });
});
