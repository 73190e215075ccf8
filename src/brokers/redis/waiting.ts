/**
 * A way through a queue of Redis, for `brokers/waiting.ts`: its lists, the highest priority first, then its delay set.
 * A list has no way to a message but from its ends. A few are taken out where they lie, and the server walks to each: what that
 * blocks it for is bounded by taking fewer at once the deeper they lie. To take out all that match, the list is turned once
 * around instead, a step at a time: no step is longer than another, and what stays is in its order again at the end.
 */
import { randomUUID } from 'node:crypto';
import { BrokerError } from '../../core/errors.js';
import { type DecodedEnvelope, decodeEnvelope, encodeEnvelope, queueKey, queueKeys } from '../../wire/redis-envelope.js';
import type { Met, WaitingWalk, WalkPurpose } from '../waiting.js';
import type { RedisLinks } from './connection.js';
import { checkQueueName, queueBinding } from './keys.js';
import { delayedEnvelope, delayedMember, delayedTask } from './scripts/delayed-member.js';
import { delayedPage, listPage, siftElements, type TakenElement, takeElements, takeMembers } from './scripts/waiting.js';
import { answeredBy } from './until-answered.js';

const LOOK_MS = 5_000;
/** Elements that one script may pass on its way to those it takes: a few milliseconds of the server. */
const MOST_PASSED = 20_000;
/** So many may have been handed back to the front since a page was read. */
const HANDED_BACK = 1_000;

interface MetElement extends Met {
  readonly envelope: DecodedEnvelope;
  readonly raw: Buffer;
  /** `null`: it is in a list. */
  readonly dueMs: number | null;
}

/** Where the walk is: in a list, or at last in the delay set (`list` is null). */
interface Part {
  readonly list: string | null;
  left: number;
  /** Of those before the page: how many were left there, and the last of them. */
  passed: number;
  anchor: Buffer | null;
  page: readonly Buffer[];
  /** The page has been turned: what is left of it is at the back. */
  turned: boolean;
  readonly taken: Set<Buffer>;
}

/** @param assertOpen throws once the broker was closed */
export function redisWalk(
  links: RedisLinks,
  assertOpen: () => void,
): (queue: string, purpose: WalkPurpose) => Promise<WaitingWalk> {
  const { commands, keys } = links;

  const untilAnswered = answeredBy(links, assertOpen);

  return async (queue, purpose) => {
    checkQueueName(queue);
    const delayedKey = `${keys.delayed}:${queue}`;
    const lists = queueKeys(queue).map((list) => keys.prefix + list);
    const sizes = await untilAnswered(LOOK_MS, () =>
      Promise.all([...lists.map((list) => commands.call('llen', [list])), commands.call('zcard', [delayedKey])]),
    );
    const parts = [...lists, null].map(
      (list, index): Part => ({
        list,
        left: sizes[index] as number,
        passed: 0,
        anchor: null,
        page: [],
        turned: false,
        taken: new Set(),
      }),
    );
    const bound = new Set<string>();
    let current = 0;

    /** Puts what was looked at behind the rest, but for those that leave the list. */
    const sift = async (
      part: Part,
      taken: readonly TakenElement[],
      timeoutMs: number,
    ): Promise<readonly (boolean | string)[]> => {
      const { list, page } = part;
      const anchor = page.at(-1);
      if (list === null || !anchor) return [];
      part.turned = true;
      const furthest = page.length + HANDED_BACK;
      return untilAnswered(timeoutMs, async (isRepeat) =>
        gone(await siftElements(commands, list, anchor, furthest, taken), isRepeat),
      );
    };
    /** What was left of the last page is before the next one, or behind all others. */
    const turn = async (part: Part): Promise<void> => {
      if (purpose === 'sift' && part.list !== null) {
        if (!part.turned) await sift(part, [], LOOK_MS);
        part.page = [];
        part.turned = false;
        return;
      }
      const stayed = part.page.filter((element) => !part.taken.has(element));
      part.passed += stayed.length;
      part.anchor = stayed.at(-1) ?? part.anchor;
      part.page = [];
      part.taken.clear();
    };
    const meet = (raw: Buffer, inside: Buffer, dueMs: number | null): MetElement[] => {
      try {
        const envelope = decodeEnvelope(inside);
        return [{ message: envelope.message, notBeforeMs: dueMs, size: raw.length, envelope, raw, dueMs }];
      } catch {
        return [];
      }
    };
    const look = async (part: Part, limit: number): Promise<MetElement[]> => {
      const { list, anchor } = part;
      if (list !== null) {
        const { before, elements } = await untilAnswered(LOOK_MS, () => listPage(commands, list, part.passed, anchor, limit));
        part.passed = before;
        part.page = elements;
        return elements.flatMap((element) => meet(element, element, null));
      }
      const rows = await untilAnswered(LOOK_MS, () => delayedPage(commands, delayedKey, anchor, limit));
      part.page = rows.map(({ member }) => member);
      return rows.flatMap(({ member, dueMs }) => meet(member, delayedEnvelope(member), dueMs));
    };
    /** Only kombu's own routing reads bindings. */
    const bind = async (to: string, timeoutMs: number): Promise<void> => {
      checkQueueName(to);
      if (bound.has(to)) return;
      await untilAnswered(timeoutMs, () => commands.call('sadd', queueBinding(keys.prefix, to, links.queues)));
      bound.add(to);
    };

    const walk: WaitingWalk<MetElement> = {
      total: parts.reduce((sum, { left }) => sum + left, 0),
      next: async (limit) => {
        for (let part = parts[current]; part; part = parts[++current]) {
          await turn(part);
          if (part.left <= 0) continue;
          const met = await look(part, Math.min(limit, part.left));
          part.left -= part.page.length;
          if (part.page.length > 0) return { looked: part.page.length, met };
        }
        return null;
      },
      take: async (messages, to, timeoutMs) => {
        const part = parts[current] as Part;
        const { list } = part;
        if (to !== null) await bind(to, timeoutMs);
        if (purpose === 'sift' && list !== null) {
          const elements = messages.map((each) => elementFor(each, to, keys.prefix));
          return (await sift(part, elements, timeoutMs)).map((flag) => (typeof flag === 'string' ? refusedBy(flag) : flag));
        }
        const flags: (boolean | BrokerError)[] = [];
        const most = Math.max(1, Math.floor(MOST_PASSED / (part.passed + part.page.length + 1)));
        for (let from = 0; from < messages.length; from += most) {
          const step = messages.slice(from, from + most);
          const done = await untilAnswered(timeoutMs, async (isRepeat) => {
            const answers = await (list === null
              ? takeMembers(
                  commands,
                  keys,
                  queue,
                  to,
                  step.map((each) => memberFor(each, to)),
                )
              : takeElements(
                  commands,
                  list,
                  step.map((each) => elementFor(each, to, keys.prefix)),
                ));
            return gone(answers, isRepeat);
          });
          for (const [index, flag] of done.entries()) {
            if (typeof flag !== 'string') part.taken.add((step[index] as MetElement).raw);
            flags.push(typeof flag === 'string' ? refusedBy(flag) : flag);
          }
        }
        return flags;
      },
      close: async () => {},
    };
    return walk as WaitingWalk;
  };
}

/** Gone at a repeat: our first try did it before the connection died. */
const gone = (flags: readonly (boolean | string)[], isRepeat: boolean): readonly (boolean | string)[] =>
  flags.map((flag) => (flag === false && isRepeat ? true : flag));

const refusedBy = (text: string): BrokerError =>
  new BrokerError(
    text.startsWith('WRONGTYPE') ? 'E_KEY_TYPE' : 'E_BROKER_FULL',
    `Redis refused a message, which stayed where it was: ${text}`,
  );

/** Under its own tag: the losses that are counted for it go with it. */
function envelopeFor({ envelope }: MetElement, to: string): string {
  return encodeEnvelope(envelope.message, {
    exchange: '',
    routingKey: to,
    deliveryTag: envelope.deliveryTag === '' ? randomUUID() : envelope.deliveryTag,
  });
}

function elementFor(met: MetElement, to: string | null, prefix: string) {
  if (to === null) return { element: met.raw, to: null };
  const list = prefix + queueKey(to, met.message.properties.priority ?? 0);
  return { element: met.raw, to: { list, element: envelopeFor(met, to) } };
}

function memberFor(met: MetElement, to: string | null) {
  const { raw, dueMs } = met;
  if (to === null) return { member: raw, dueMs: dueMs ?? 0, to: null };
  const list = queueKey(to, met.message.properties.priority ?? 0);
  return {
    member: raw,
    dueMs: dueMs ?? 0,
    to: delayedMember(randomUUID(), list, delayedTask(met.message.headers), envelopeFor(met, to)),
  };
}
