/**
 * Makes message headers harmless that would break the connection when the client decodes them: it does so by recursion, and headers
 * nested some thousand levels deep overflow the stack. The broker would deliver the same message again after every reconnect, for ever.
 *
 * Such headers are replaced by their raw bytes under one name, and the other properties are dropped: what arrives is a message that no
 * Celery client wrote, which is parked. Only large header frames are looked at; others cannot be that deep.
 */

/** The header that carries the bytes of what could not be read. */
export const UNREADABLE_HEADERS = 'lovage_unreadable_headers';

const HEADER_FRAME = 2;
const FRAME_OVERHEAD = 8; // type, channel, size before; end mark after
const HARMLESS_BYTES = 4_096;
const DEEPEST = 64;
/** What is kept of unreadable headers; the client writes at most 64 KiB of them. */
const KEPT_BYTES = 32_768;
/** Sizes of values by their type letter; `S` and `x` carry a length, `F` and `A` nest. */
const SIZES: Readonly<Record<string, number>> = { t: 1, b: 1, B: 1, s: 2, u: 2, I: 4, i: 4, f: 4, D: 5, l: 8, d: 8, T: 8, V: 0 };

/** The parts of the client's connection that are used here; not in its types. */
interface HiddenReader {
  rest?: Buffer;
  recvFrame?(): unknown;
}

/** Puts the guard in front of the connection's reader, if it has the form that we know. */
export function guardFrames(connection: object): void {
  const reader = connection as HiddenReader;
  const receive = reader.recvFrame;
  if (typeof receive !== 'function' || !Buffer.isBuffer(reader.rest)) return;
  reader.recvFrame = function guarded(this: HiddenReader) {
    const { rest } = this;
    if (rest && rest.length > HARMLESS_BYTES && rest[0] === HEADER_FRAME) this.rest = harmless(rest);
    return receive.call(this);
  };
}

/** The same bytes, with the first frame replaced if its headers are nested too deeply or malformed. */
export function harmless(bytes: Buffer): Buffer {
  const size = bytes.readUInt32BE(3);
  if (size <= HARMLESS_BYTES || bytes.length < size + FRAME_OVERHEAD) return bytes;
  const payload = bytes.subarray(7, 7 + size);
  const table = headerTable(payload);
  if (table === null || depthWithin(table, DEEPEST)) return bytes;
  const kept = table.subarray(0, KEPT_BYTES);
  const name = Buffer.from(UNREADABLE_HEADERS);
  const entryBytes = 1 + name.length + 1 + 4 + kept.length;
  const frame = Buffer.alloc(7 + 12 + 2 + 4 + entryBytes + 1);
  bytes.copy(frame, 0, 0, 3); // type and channel
  frame.writeUInt32BE(frame.length - FRAME_OVERHEAD, 3);
  payload.copy(frame, 7, 0, 12); // class, weight, body size
  frame.writeUInt16BE(1 << 13, 19); // headers are the only property
  frame.writeUInt32BE(entryBytes, 21);
  frame[25] = name.length;
  name.copy(frame, 26);
  let offset = 26 + name.length;
  frame.write('x', offset);
  frame.writeUInt32BE(kept.length, offset + 1);
  kept.copy(frame, offset + 5);
  offset += 5 + kept.length;
  frame[offset] = 0xce;
  return Buffer.concat([frame, bytes.subarray(size + FRAME_OVERHEAD)]);
}

/** The header table of a content header, without its length; null if it has none. */
function headerTable(payload: Buffer): Buffer | null {
  const flags = payload.readUInt16BE(12);
  if ((flags & (1 << 13)) === 0) return null;
  let offset = 14;
  for (const bit of [15, 14]) if (flags & (1 << bit)) offset += 1 + (payload[offset] ?? 0); // content type, content encoding
  if (offset + 4 > payload.length) return Buffer.alloc(0);
  return payload.subarray(offset + 4, offset + 4 + payload.readUInt32BE(offset));
}

/** Whether a table is well formed and nowhere deeper than `limit`. Without recursion. */
function depthWithin(table: Buffer, limit: number): boolean {
  const open: { readonly end: number; readonly named: boolean }[] = [{ end: table.length, named: true }];
  let offset = 0;
  for (let level = open.at(-1); level; level = open.at(-1)) {
    if (offset >= level.end) {
      open.pop();
      continue;
    }
    if (level.named) offset += 1 + (table[offset] ?? 0);
    const type = String.fromCharCode(table[offset] ?? 0);
    offset += 1;
    const fixed = SIZES[type];
    if (fixed !== undefined) offset += fixed;
    else {
      if (offset + 4 > level.end || !'SxFA'.includes(type)) return false;
      const length = table.readUInt32BE(offset);
      offset += 4;
      if (offset + length > level.end) return false;
      if (type === 'S' || type === 'x') offset += length;
      else if (open.push({ end: offset + length, named: type === 'F' }) > limit) return false;
    }
    if (offset > level.end) return false;
  }
  return true;
}
