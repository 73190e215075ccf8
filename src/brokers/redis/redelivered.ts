/**
 * Marks an envelope as redelivered, as kombu does when it puts one back: `headers.redelivered` and
 * `properties.delivery_info.redelivered`. Done in the text: parsing and writing it again would round big integers and
 * change `1.0` into `1` in somebody else's headers.
 */

/** The envelope with both marks, or the same bytes when they are there already or it is no envelope. */
export function markRedelivered(raw: Buffer): Buffer {
  const text = raw.toString('latin1');
  const ends: number[] = [];
  // latin1 keeps one character a byte, so positions in the text are positions in the bytes
  const envelope = members(text, 0);
  if (!envelope) return raw;
  for (const { key, start } of envelope) {
    if (key === 'headers') note(text, start, ends);
    if (key !== 'properties') continue;
    for (const inner of members(text, start) ?? []) if (inner.key === 'delivery_info') note(text, inner.start, ends);
  }
  if (ends.length === 0) return raw;
  ends.sort((a, b) => a - b);
  const parts: Buffer[] = [];
  let from = 0;
  for (const end of ends) {
    parts.push(raw.subarray(from, end));
    // at the end of the object, because of two members with one name every reader takes the last
    parts.push(Buffer.from(isEmptyBefore(text, end) ? '"redelivered": true' : ', "redelivered": true'));
    from = end;
  }
  parts.push(raw.subarray(from));
  return Buffer.concat(parts);
}

/** Remembers where the object ends, unless it says `redelivered: true` already. */
function note(text: string, start: number, ends: number[]): void {
  const found = members(text, start);
  if (!found) return;
  const last = found.filter(({ key }) => key === 'redelivered').pop();
  if (last && text.slice(last.start, last.end).trim() === 'true') return;
  ends.push(skipValue(text, start) - 1);
}

const isEmptyBefore = (text: string, end: number): boolean => /\{\s*$/.test(text.slice(Math.max(0, end - 64), end));

interface Member {
  readonly key: string;
  /** Where its value starts and ends. */
  readonly start: number;
  readonly end: number;
}

/** The members of the object that starts at or after `at`, or `null` if there is none. */
function members(text: string, at: number): Member[] | null {
  let position = skipSpace(text, at);
  if (text[position] !== '{') return null;
  position = skipSpace(text, position + 1);
  const found: Member[] = [];
  while (text[position] === '"') {
    const keyEnd = skipString(text, position);
    const key = text.slice(position + 1, keyEnd - 1);
    position = skipSpace(text, keyEnd);
    if (text[position] !== ':') return null;
    const start = skipSpace(text, position + 1);
    const end = skipValue(text, start);
    found.push({ key, start, end });
    position = skipSpace(text, end);
    if (text[position] === ',') position = skipSpace(text, position + 1);
  }
  return text[position] === '}' ? found : null;
}

function skipSpace(text: string, at: number): number {
  let position = at;
  for (;;) {
    const code = text.charCodeAt(position);
    if (code !== 32 && code !== 9 && code !== 10 && code !== 13) return position;
    position += 1;
  }
}

/** The position after the string that starts at `at`. */
function skipString(text: string, at: number): number {
  let position = at + 1;
  for (;;) {
    const quote = text.indexOf('"', position);
    if (quote < 0) return text.length;
    let slashes = 0;
    while (text[quote - 1 - slashes] === '\\') slashes += 1;
    if (slashes % 2 === 0) return quote + 1;
    position = quote + 1;
  }
}

/** The position after the value that starts at `at`; objects and lists by counting, so that depth costs no stack. */
function skipValue(text: string, at: number): number {
  let depth = 0;
  let position = at;
  while (position < text.length) {
    const character = text[position];
    if (character === '"') {
      position = skipString(text, position);
      if (depth === 0) return position;
      continue;
    }
    if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') {
      if (depth === 0) return position;
      depth -= 1;
      if (depth === 0) return position + 1;
    } else if (
      depth === 0 &&
      (character === ',' || character === ' ' || character === '\n' || character === '\r' || character === '\t')
    )
      return position;
    position += 1;
  }
  return position;
}
