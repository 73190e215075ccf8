/**
 * Python's `repr`, for people only: `argsrepr`, `kwargsrepr`, result texts in events. Cheap and bounded: stops at a
 * budget of characters and at four levels, as Celery's saferepr does (wire section 2.5). Never throws.
 */

/** Where Celery cuts. */
export const REPR_LIMIT = 1024;
const REPR_LEVELS = 3;
/** What a redacted argument looks like. */
const REDACTED = "'***'";

/** Which arguments must not be shown: all, or these positions and keywords. */
export type SecretArgs = true | readonly (string | number)[];

/** Python's repr of the args tuple, cut at 1,024 characters: `(2, 'a', None)`. */
export function reprArgs(args: readonly unknown[], secret?: SecretArgs): string {
  if (args.length === 0) return '()';
  let out = '(';
  for (let i = 0; i < args.length; i++) {
    if (out.length > REPR_LIMIT) break;
    if (i > 0) out += ', ';
    out += isSecret(secret, i) ? REDACTED : reprValue(args[i], 1, REPR_LIMIT - out.length);
  }
  return cut(args.length === 1 ? `${out},)` : `${out})`);
}

/** Python's repr of the kwargs dict, cut at 1,024 characters: `{'a': True}`. */
export function reprKwargs(kwargs: Readonly<Record<string, unknown>>, secret?: SecretArgs): string {
  let out = '{';
  for (const key in kwargs) {
    const value = kwargs[key];
    if (value === undefined) continue;
    if (out.length > REPR_LIMIT) break;
    if (out.length > 1) out += ', ';
    out += `${reprString(key, REPR_LIMIT)}: ${isSecret(secret, key) ? REDACTED : reprValue(value, 1, REPR_LIMIT - out.length)}`;
  }
  return cut(`${out}}`);
}

/** Python's repr of any value, cut at `limit` characters. */
export function pythonRepr(value: unknown, limit = REPR_LIMIT): string {
  return cut(reprValue(value, 0, limit), limit);
}

function isSecret(secret: SecretArgs | undefined, key: string | number): boolean {
  return secret !== undefined && (secret === true || secret.includes(key));
}

function cut(text: string, limit = REPR_LIMIT): string {
  return text.length <= limit ? text : `${clip(text, limit - 3)}...`;
}

function reprValue(value: unknown, level: number, budget: number): string {
  switch (typeof value) {
    case 'string':
      return reprString(value, budget);
    case 'number':
      return Number.isFinite(value) ? String(value) : Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
    case 'boolean':
      return value ? 'True' : 'False';
    case 'undefined':
      return 'None';
    case 'bigint':
      return value.toString();
    case 'object':
      return value === null ? 'None' : reprObject(value, level, budget);
    default:
      return `<${typeof value}>`;
  }
}

function reprObject(value: object, level: number, budget: number): string {
  try {
    if (Array.isArray(value)) {
      if (level >= REPR_LEVELS && value.length > 0) return '[...]';
      let out = '[';
      for (let i = 0; i < value.length && out.length <= budget; i++) {
        out += (i > 0 ? ', ' : '') + reprValue(value[i], level + 1, budget - out.length);
      }
      return `${out}]`;
    }
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? '<invalid date>' : `'${value.toISOString()}'`;
    if (value instanceof Uint8Array) return `<${value.length} bytes>`;
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) return reprString(String(value), budget);
    let out = '{';
    for (const key in value) {
      if (level >= REPR_LEVELS) return '{...}';
      if (out.length > budget) break;
      if (out.length > 1) out += ', ';
      out += `${reprString(key, budget)}: ${reprValue((value as Record<string, unknown>)[key], level + 1, budget - out.length)}`;
    }
    return `${out}}`;
  } catch {
    return '<unreadable>';
  }
}

// With the u flag \ud800-\udfff matches lone surrogates only; Python cannot print those.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must be escaped
const NEEDS_CARE = /['\\\u0000-\u001f\u007f-\u00a0\ud800-\udfff]/u;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must be escaped
const ESCAPED = /[\u0000-\u001f\u007f-\u00a0\ud800-\udfff]/gu;

function reprString(value: string, budget: number): string {
  const text = value.length > budget ? clip(value, Math.max(budget, 0)) : value;
  if (!NEEDS_CARE.test(text)) return `'${text}'`;
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let escaped = text.replaceAll('\\', '\\\\').replace(ESCAPED, escapeChar);
  if (quote === "'") escaped = escaped.replaceAll("'", "\\'");
  return quote + escaped + quote;
}

/** The first `length` characters, without half a surrogate pair at the end. */
export function clip(text: string, length: number): string {
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? length - 1 : length);
}

function escapeChar(char: string): string {
  if (char === '\n') return '\\n';
  if (char === '\r') return '\\r';
  if (char === '\t') return '\\t';
  const code = char.charCodeAt(0);
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`;
}
