/** Tools of the broker suite: messages, a consumer that writes down what it hears, and waiting for conditions. */
import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type {
  Arrival,
  Broker,
  Consumer,
  Delivery,
  Garbage,
  OutgoingMessage,
  PublishResult,
  Settlement,
  SettleResult,
} from '../../brokers/broker.js';
import { sleep } from '../../core/clock.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import type { WireMessage } from '../../wire/message.js';

/** A queue name that no other test has. */
export function uniqueQueue(label: string): string {
  return `suite-${label}-${randomUUID().slice(0, 13)}`;
}

/** Waits until the condition holds, looking again and again. @throws after `patienceMs`, naming what did not come */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  patienceMs = 10_000,
): Promise<void> {
  const endMs = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > endMs)
      throw new Error(`waited ${patienceMs} ms in vain: ${typeof what === 'string' ? what : what()}`);
    await sleep(3);
  }
}

/** Lets this much wall time pass; for tests about time itself. */
export function untilWall(wallMs: number): Promise<void> {
  return until(() => Date.now() >= wallMs, 'the time itself', Math.max(wallMs - Date.now(), 0) + 5_000);
}

/** A small task message whose id tells its number. */
export function message(id: string, overrides: Partial<WireMessage> = {}): WireMessage {
  return {
    contentType: 'application/json',
    contentEncoding: 'utf-8',
    headers: { lang: 'js', task: 'suite.task', id, retries: 0, root_id: id, parent_id: null },
    properties: { correlation_id: id, delivery_mode: 2 },
    body: { encoding: 'utf8', data: `[["${id}"],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]` },
    ...overrides,
  };
}

/** Names `first…last` as message ids of a queue. */
export function ids(queue: string, first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => `${queue}.${first + index}`);
}

export function outgoing(
  queue: string,
  id: string,
  extra: Omit<Partial<OutgoingMessage>, 'to' | 'message'> = {},
): OutgoingMessage {
  return { to: { queue }, message: message(id), ...extra };
}

/** Publishes and insists that everything is confirmed. */
export async function send(broker: Broker, messages: readonly OutgoingMessage[]): Promise<void> {
  const results = await broker.publish(messages, { timeoutMs: 10_000 });
  expect(results).toHaveLength(messages.length);
  for (const result of results) if (result !== null) throw result;
}

export function sendIds(broker: Broker, queue: string, list: readonly string[]): Promise<void> {
  return send(
    broker,
    list.map((id) => outgoing(queue, id)),
  );
}

export function idOf(arrival: Arrival): string {
  return arrival.kind === 'delivery' ? String(arrival.message.headers['id']) : `garbage:${arrival.raw.length}`;
}

/** The body's bytes whatever form the driver gives it in. */
export function bodyBytes(wire: WireMessage): Buffer {
  const { body } = wire;
  if (body.encoding === 'binary') return Buffer.from(body.data);
  return Buffer.from(body.data, body.encoding);
}

export interface CollectOptions {
  /** Total credit; by default the sum of the queues'. */
  readonly credit?: number;
  readonly leaseMs?: number;
  readonly name?: string;
  /** Acknowledge everything and grant the credit back at once. */
  readonly acking?: boolean;
  /** Gets the consumer's lines; by default nobody. */
  readonly logger?: Logger;
}

/** A consumer and everything that it was told. */
export class Collector {
  readonly arrivals: Arrival[] = [];
  readonly lost: string[] = [];
  readonly states: string[] = [];
  readonly #failures: unknown[] = [];
  #consumer: Consumer | null = null;

  static async open(broker: Broker, queues: Readonly<Record<string, number>>, options: CollectOptions = {}): Promise<Collector> {
    const collector = new Collector();
    const consumed = Object.entries(queues).map(([name, credit]) => ({ name, credit }));
    const early: Arrival[] = [];
    const consumer = await broker.consume({
      queues: consumed,
      credit: options.credit ?? consumed.reduce((sum, { credit }) => sum + credit, 0),
      leaseMs: options.leaseMs ?? 15_000,
      consumerName: options.name ?? 'suite@host',
      logger: options.logger ?? silentLogger,
      onArrivals: (arrivals) => {
        collector.arrivals.push(...arrivals);
        if (!options.acking) return;
        if (collector.#consumer) void collector.#ackAll(arrivals);
        else early.push(...arrivals);
      },
      onLost: (tags) => collector.lost.push(...tags),
      onState: (state) => collector.states.push(state),
    });
    collector.#consumer = consumer;
    if (early.length > 0) void collector.#ackAll(early);
    return collector;
  }

  get consumer(): Consumer {
    if (!this.#consumer) throw new Error('not consuming yet');
    return this.#consumer;
  }

  get ids(): string[] {
    return this.arrivals.map(idOf);
  }

  /** Waits for that many arrivals in all, and insists that there are no more. */
  async got(count: number, patienceMs = 10_000): Promise<readonly Arrival[]> {
    await this.atLeast(count, patienceMs);
    expect(this.ids).toHaveLength(count);
    return this.arrivals;
  }

  async atLeast(count: number, patienceMs = 10_000): Promise<void> {
    await until(
      () => this.arrivals.length >= count || this.#failures.length > 0,
      () => `${count} arrivals, ${this.arrivals.length} came`,
      patienceMs,
    );
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  /** The arrival of this number, counted from 0, as a delivery. */
  delivery(index: number): Delivery {
    const arrival = this.arrivals[index];
    if (arrival?.kind !== 'delivery') throw new Error(`arrival ${index} is ${arrival ? 'garbage' : 'missing'}`);
    return arrival;
  }

  garbage(index: number): Garbage {
    const arrival = this.arrivals[index];
    if (arrival?.kind !== 'garbage') throw new Error(`arrival ${index} is ${arrival ? 'a message' : 'missing'}`);
    return arrival;
  }

  settle(...settlements: Settlement[]): Promise<readonly SettleResult[]> {
    return this.consumer.settle(settlements);
  }

  async ack(...arrivals: Arrival[]): Promise<void> {
    expect(await this.settle(...arrivals.map((arrival) => ({ kind: 'ack', arrival }) as const))).toEqual(
      arrivals.map(() => 'held'),
    );
  }

  async #ackAll(arrivals: readonly Arrival[]): Promise<void> {
    const perQueue = new Map<string, number>();
    for (const { queue } of arrivals) perQueue.set(queue, (perQueue.get(queue) ?? 0) + 1);
    try {
      const settled = this.settle(...arrivals.map((arrival) => ({ kind: 'ack', arrival }) as const));
      for (const [queue, count] of perQueue) this.consumer.grant(queue, count);
      const results = await settled;
      if (results.includes('lost')) throw new Error('a delivery was lost while it was acknowledged at once');
    } catch (error) {
      this.#failures.push(error);
    }
  }
}

/** Sends the ids and holds as many of them as the credit allows; all by default. */
export async function holdingIds(
  broker: Broker,
  queue: string,
  list: readonly string[],
  credit = list.length,
): Promise<Collector> {
  await sendIds(broker, queue, list);
  const collector = await Collector.open(broker, { [queue]: credit });
  await collector.got(Math.min(credit, list.length));
  return collector;
}

/** Takes `count` messages off the queue; their ids in the order of delivery. Leaves nothing of its own behind. */
export async function drain(broker: Broker, queue: string, count: number, patienceMs = 10_000): Promise<string[]> {
  const collector = await Collector.open(broker, { [queue]: 50 }, { acking: true });
  await collector.got(count, patienceMs);
  await expectDepth(broker, queue, { ready: 0, unacked: 0 });
  await collector.consumer.close({ timeoutMs: 5_000 });
  return collector.ids;
}

/** Insists that the queue comes to hold exactly this; what the broker cannot tell (`null`) passes. */
export async function expectDepth(
  broker: Broker,
  queue: string,
  expected: { readonly ready?: number; readonly delayed?: number; readonly unacked?: number },
): Promise<void> {
  let seen = '';
  await until(
    async () => {
      const [depth] = await broker.depth([queue]);
      seen = JSON.stringify(depth);
      return Object.entries(expected).every(([key, value]) => {
        const actual = depth?.[key as 'ready' | 'delayed' | 'unacked'];
        return actual === null || actual === value;
      });
    },
    () => `depth ${JSON.stringify(expected)}, it is ${seen}`,
  );
}

/**
 * Gives a broker that delivers too much the chance to show it: several round trips through it, and turns of the loop.
 * Checks after it are of the kind "and still nothing more".
 */
export async function quiet(broker: Broker, queue: string): Promise<void> {
  for (let round = 0; round < 8; round += 1) {
    await broker.depth([queue]);
    await sleep(5);
  }
}

/** Insists that a call fails with this code. */
export async function expectCode(promise: Promise<unknown>, code: string): Promise<void> {
  await expect(promise).rejects.toMatchObject({ code });
}

export function failures(results: readonly PublishResult[]): readonly { readonly code: string; readonly outcome: string }[] {
  return results.map((result) => {
    if (result === null) throw new Error('a message was confirmed that should not have been');
    return { code: result.code, outcome: result.outcome };
  });
}

/** Makes consumers that hold `count` messages, each on a connection of its own that may be crashed. */
export function holderWith({ leaseMs, patienceMs }: { readonly leaseMs: number; readonly patienceMs: number }) {
  return async (
    fixture: { another(): Promise<Broker> },
    queue: string,
    count: number,
    name: string,
  ): Promise<{ readonly broker: Broker; readonly collector: Collector }> => {
    const broker = await fixture.another();
    const collector = await Collector.open(broker, { [queue]: count }, { leaseMs, name });
    await collector.got(count, leaseMs + patienceMs);
    return { broker, collector };
  };
}
