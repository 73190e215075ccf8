import { describe, expect, test } from 'vitest';
import { decodeControlReply } from '../wire/control-message.js';
import { Listing } from './command.js';
import { LamportClock } from './lamport-clock.js';
import { makeReply, REPLY_BYTES } from './reply.js';

const replyTo = { exchange: 'reply.celery.pidbox', routingKey: 'client' };
const request = (args: Readonly<Record<string, unknown>> = {}) => ({
  ...{ method: 'x', arguments: args, destination: null, pattern: null, matcher: null, ticket: 't', clock: 0, expires: 0 },
  replyTo,
});
const reply = (value: unknown, args?: Readonly<Record<string, unknown>>) => {
  const made = makeReply('node@host', value, request(args), new LamportClock());
  expect(made).toMatchObject(replyTo);
  expect(made.message.body.data.length).toBeLessThanOrEqual(REPLY_BYTES + 200);
  const { answers, next, ticket } = decodeControlReply(made.message);
  expect(ticket).toBe('t');
  expect(answers).toHaveLength(1);
  return { value: answers[0]?.[1], next };
};
const list = (count: number, size: number): Listing =>
  Listing.of(
    Array.from({ length: count }, (_, index) => `${index}:${'x'.repeat(size)}`),
    (item) => item,
    (left) => `${left} more`,
  );

describe('a reply', () => {
  test('holds what the command gave, under the name of the node', () => {
    expect(reply({ ok: 'pong' })).toEqual({ value: { ok: 'pong' }, next: null });
    expect(reply(undefined)).toEqual({ value: null, next: null });
  });

  test('that would be too large says so instead', () => {
    expect(reply('x'.repeat(REPLY_BYTES + 1))).toEqual({
      value: { error: expect.stringMatching(/^the answer takes .*, and .* is the most: ask for less$/) },
      next: null,
    });
  });

  test('that cannot be written as JSON says so instead', () => {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    expect(reply(circular).value).toHaveProperty('error', expect.stringContaining('ArgumentError('));
  });

  test('holds a list that fits as it is', () => {
    expect(reply(list(3, 1)).value).toEqual(['0:x', '1:x', '2:x']);
    expect(reply(list(0, 1)).value).toEqual([]);
  });

  test('ends a list that does not fit with how much is left out', () => {
    const { value, next } = reply(list(100, 50_000));
    const items = value as string[];
    expect(next).toBeNull();
    expect(items.length).toBeGreaterThan(10);
    expect(items.at(-1)).toBe(`${100 - items.length + 1} more`);
  });

  test('gives a client that asks for pages one after the other, all of it, and nothing twice', () => {
    const seen: string[] = [];
    let pages = 0;
    for (let from: number | null = 0; from !== null; pages += 1) {
      const { value, next } = reply(list(100, 50_000), { lovage_from: from });
      seen.push(...(value as string[]).map((item) => item.split(':')[0] as string));
      from = next;
    }
    expect(pages).toBeGreaterThan(3);
    expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => `${index}`));
    expect(reply(list(3, 1), { lovage_from: 99 })).toEqual({ value: [], next: null });
  });

  test('asks about the items that it carries, and no others', () => {
    const shown: number[] = [];
    const listing = Listing.of(
      Array.from({ length: 1_000 }, (_, index) => index),
      (index) => {
        shown.push(index);
        return 'x'.repeat(300_000);
      },
      (left) => left,
    );
    expect(reply(listing).value).toHaveLength(4);
    expect(shown.length).toBeLessThanOrEqual(5);
  });

  test.each([[-1], [1.5], ['0'], [null]])('takes the page %s for none that was asked for', (from) => {
    expect((reply(list(100, 50_000), { lovage_from: from }).value as string[]).at(-1)).toMatch(/ more$/);
  });
});
