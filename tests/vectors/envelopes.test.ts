/** Everything that Python put into Redis lists, channels, hashes and sets as a broker. */
import { describe, expect, test } from 'vitest';
import {
  type DecodedEnvelope,
  decodeEnvelope,
  encodeEnvelope,
  PRIORITY_SEPARATOR,
  queueKey,
  queueKeys,
} from '../../src/wire/redis-envelope.js';
import { decodeResultMeta } from '../../src/wire/result-meta.js';
import { exact } from './compare.js';
import { checkMessage, textOf } from './message-checks.js';
import { unitsOfKind } from './vector-files.js';

type Parsed = Record<string, unknown> & { readonly properties: Record<string, unknown> };

/** Options of the call that Celery hands on to kombu, which leaves them among the properties; nobody reads them there. */
const LEFTOVERS: ReadonlySet<string> = new Set(['origin', 'replaced_task_nesting', 'argsrepr', 'kwargsrepr']);

/** Reads an envelope and writes it again; all that Python reads must be the same. */
function checkEnvelope(raw: string): DecodedEnvelope {
  const parsed = exact(raw) as Parsed;
  const decoded = decodeEnvelope(raw);
  expect(decodeEnvelope(Buffer.from(raw, 'utf8'))).toEqual(decoded);
  const again = exact(encodeEnvelope(decoded.message, decoded)) as Parsed;
  const properties = Object.entries(parsed.properties).filter(([name]) => !LEFTOVERS.has(name));
  expect(again).toEqual({ ...parsed, properties: Object.fromEntries(properties) });
  return decoded;
}

describe('Redis envelopes recorded from Celery', () => {
  test.each(unitsOfKind('envelope'))('$where', ({ raw, bodyText, vector }) => {
    const { message, exchange, routingKey } = checkEnvelope(raw);
    if (bodyText !== undefined && message.headers.compression === undefined) expect(textOf(message)).toBe(bodyText);
    checkMessage(message, { exchange, routingKey }, vector);
  });

  test.each(unitsOfKind('unacked'))('$where', ({ tag, raw, vector }) => {
    const [envelope, exchange, routingKey] = exact(raw) as [Parsed, string, string];
    const decoded = checkEnvelope(JSON.stringify(envelope));
    expect(decoded).toMatchObject({ deliveryTag: tag, exchange, routingKey });
    checkMessage(decoded.message, { exchange, routingKey }, vector);
  });

  test.each(unitsOfKind('unacked-index'))('$where names only tags that the hash holds', ({ members, vector, where }) => {
    expect(members.length).toBeGreaterThan(0);
    const hash = where.replace('unacked_index', 'unacked');
    const held = new Set(
      unitsOfKind('unacked')
        .filter((unit) => unit.vector === vector && unit.where === hash)
        .map((unit) => unit.tag),
    );
    for (const [tag, score] of members) {
      expect(held).toContain(tag);
      expect(score).toBeGreaterThan(1_700_000_000);
    }
  });
});

describe('keys recorded from Celery', () => {
  test.each(unitsOfKind('binding'))('$where has three parts', ({ member, vector }) => {
    const separator = vector.name === 'b-redis-prio-steps' ? ':' : PRIORITY_SEPARATOR;
    const parts = member.split(separator);
    expect(parts).toHaveLength(3);
    expect(parts[2]).not.toBe('');
  });

  test('every task message stands in the list of its priority', () => {
    let checked = 0;
    for (const { where, raw, vector } of unitsOfKind('envelope')) {
      const list = /broker_db0 > (.+) > elements/.exec(where)?.[1];
      if (list === undefined) continue;
      const { message, routingKey, exchange } = decodeEnvelope(raw);
      if (exchange !== '') continue;
      const prefix = vector.name === 'b-redis-keyprefix' ? 'pre:' : '';
      const [steps, separator] =
        vector.name === 'b-redis-prio-steps' ? [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], ':'] : [undefined, undefined];
      expect(list).toBe(prefix + queueKey(routingKey, message.properties.priority ?? 0, steps, separator));
      checked++;
    }
    expect(checked).toBeGreaterThan(60);
  });

  test.each(unitsOfKind('command'))('$where: $command', ({ command }) => {
    const [verb, key = '', ...rest] = command.replaceAll('\\x06\\x16', PRIORITY_SEPARATOR).split(' ');
    if (verb === 'BRPOP') {
      // one list of each queue, then the next step of each queue; the queues rotate
      const lists = [key, ...rest.slice(0, -1)];
      const queues = lists.slice(0, lists.length / 4);
      expect(lists).toEqual([0, 1, 2, 3].flatMap((step) => queues.map((queue) => queueKeys(queue)[step])));
    } else if (verb === 'SETEX' || (verb === 'PUBLISH' && key.startsWith('celery-task-meta-'))) {
      expect(decodeResultMeta(command.slice(command.indexOf('{'))).taskId).toBe(key.slice('celery-task-meta-'.length));
    } else if (verb === 'LLEN') expect(queueKeys(key.split(PRIORITY_SEPARATOR)[0] as string)).toContain(key);
    else if (verb === 'SADD' || verb === 'SREM') expect(rest.join(' ').split(PRIORITY_SEPARATOR)).toHaveLength(3);
    else expect(verb).toMatch(/^[A-Z]+$/i);
  });
});
