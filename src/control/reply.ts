/**
 * Makes a reply of what a command gave, and keeps it within its size. A list is cut where it is full: a client of ours asks
 * for the rest, any other finds an item at the end that says how much is left out.
 */
import { formatBytes } from '../core/byte-size.js';
import type { AddressedMessage } from '../wire/broadcast-message.js';
import { type ControlRequest, encodeControlReply, FROM_ARGUMENT, type ReplyAddress } from '../wire/control-message.js';
import { encodeJson } from '../wire/serializers/json.js';
import { errorText, Listing, nok } from './command.js';
import type { LamportClock } from './lamport-clock.js';

/** What one reply may take; JSON that is larger keeps the engine busy for too long, and an inbox full. */
export const REPLY_BYTES = 1_024 * 1_024;

/** The message of a reply; one that cannot be sent becomes a reply that says why. */
export function makeReply(
  nodeName: string,
  value: unknown,
  request: ControlRequest & { readonly replyTo: ReplyAddress },
  clock: LamportClock,
): AddressedMessage {
  const { replyTo, ticket } = request;
  const encode = (answer: unknown, next: number | null = null): AddressedMessage =>
    encodeControlReply(nodeName, answer, { replyTo, ticket, next, clock: clock.tick() });
  try {
    if (value instanceof Listing) {
      const page = pageOf(value, request.arguments[FROM_ARGUMENT]);
      return encode(page.items, page.next);
    }
    const message = encode(value);
    const bytes = message.message.body.data.length;
    if (bytes <= REPLY_BYTES) return message;
    return encode(nok(`the answer takes ${formatBytes(bytes)}, and ${formatBytes(REPLY_BYTES)} is the most: ask for less`));
  } catch (error) {
    return encode({ error: errorText(error) });
  }
}

/** The items that fit, from one on. @param from what a client of ours asked for; others get a note about the rest instead */
function pageOf(listing: Listing, from: unknown): { readonly items: readonly unknown[]; readonly next: number | null } {
  const asks = typeof from === 'number' && Number.isSafeInteger(from) && from >= 0;
  const first = asks ? from : 0;
  const items: unknown[] = [];
  let left = REPLY_BYTES;
  let position = 0;
  let isFull = false;
  for (const show of listing.items) {
    if (position >= first && !isFull) {
      const item = show();
      left -= encodeJson(item, { path: 'reply' }).length + 2;
      // one that is larger than a whole page goes alone, or nobody would ever get past it
      isFull = left < 0 && items.length > 0;
      if (!isFull) items.push(item);
    }
    position += 1;
  }
  const next = first + items.length;
  if (next >= position) return { items, next: null };
  if (asks) return { items, next };
  return { items: [...items, listing.more(position - next)], next: null };
}
