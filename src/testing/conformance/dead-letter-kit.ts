/** What the suites of dead letters share: parking messages, and finding letters again. */
import { expect } from 'vitest';
import type { Broker } from '../../brokers/broker.js';
import type { DeadLetter, DeadLetterContent, DeadQuery } from '../../brokers/dead-letters.js';
import { PARK_REASON } from './broker-fixture.js';
import { holdingIds } from './broker-kit.js';

/** One step may take as long. */
export const WORK = { timeoutMs: 10_000 } as const;

/** Sends and parks messages with these ids. */
export async function park(
  broker: Broker,
  queue: string,
  list: readonly string[],
  reason = PARK_REASON as { code: string; reason: string },
) {
  const collector = await holdingIds(broker, queue, list);
  const parks = collector.arrivals.map((arrival) => ({ kind: 'park', arrival, reason }) as const);
  expect(new Set(await collector.settle(...parks))).toEqual(new Set(['held']));
  await collector.consumer.close({ timeoutMs: 5_000 });
}

/** All letters that a query finds, page by page; the pages' sizes beside them. */
export async function listAll({ deadLetters }: Broker, query: DeadQuery): Promise<{ letters: DeadLetter[]; pages: number[] }> {
  const letters: DeadLetter[] = [];
  const pages: number[] = [];
  for (let cursor: string | null = null; ; ) {
    const page = await deadLetters.list({ ...query, cursor });
    letters.push(...page.letters);
    pages.push(page.letters.length);
    if (page.next === null) return { letters, pages };
    cursor = page.next;
  }
}

/** The task ids of a queue's letters, newest first. */
export async function taskIds(broker: Broker, queue: string): Promise<string[]> {
  const { letters } = await listAll(broker, { filter: { queue } });
  return letters.map(({ taskId }) => String(taskId));
}

/** The one letter of a queue, with its content. */
export async function onlyLetter(broker: Broker, queue: string): Promise<DeadLetterContent> {
  const { letters } = await listAll(broker, { filter: { queue } });
  expect(letters).toHaveLength(1);
  const content = await broker.deadLetters.get(letters[0]?.id ?? '');
  if (!content) throw new Error('a listed letter cannot be read');
  return content;
}
