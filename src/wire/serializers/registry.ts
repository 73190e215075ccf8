/**
 * Which content types are read and written, and the way from a message to its decoded body: size, compression, content
 * type, then the parser (wire section 3). Pickle is refused whatever the options say: reading it runs code.
 *
 * msgpack and yaml need a package of the user's; it is loaded at the first use, not before.
 */
import { createRequire } from 'node:module';
import { brotliDecompressSync, constants, deflateSync, unzipSync } from 'node:zlib';
import { ArgumentError, ConfigError, LovageError, WireError } from '../../core/errors.js';
import type { EncodedBody, WireMessage } from '../message.js';
import { fromForeign, toForeign } from './foreign-values.js';
import { decodeJson, encodeJson, type JsonMode, textOfUtf8 } from './json.js';

/** A serializer by Celery's name. */
export type SerializerName = 'json' | 'msgpack' | 'yaml';

/** Largest body that is decoded, and the most that a compressed body may grow to, unless said otherwise: 16 MiB. */
export const MAX_BODY_BYTES = 16 * 1024 * 1024;

export interface DecodeBodyOptions {
  /** Serializers whose bodies are read. @defaultValue `['json']` */
  readonly accept?: readonly SerializerName[];
  /** Bytes, before and after decompression. @defaultValue 16 MiB */
  readonly maxBytes?: number;
  /** @defaultValue 200 */
  readonly maxDepth?: number;
}

interface Serializer {
  readonly name: SerializerName;
  readonly contentType: string;
  readonly contentEncoding: string;
  encode(value: unknown, path: string, mode: JsonMode): string | Uint8Array;
  decode(body: string | Uint8Array, maxDepth: number): unknown;
}

const json: Serializer = {
  name: 'json',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  encode: (value, path, mode) => encodeJson(value, { path, mode }),
  decode: (body, maxDepth) => decodeJson(typeof body === 'string' ? body : textOfUtf8(body), { maxDepth }),
};

const msgpack: Serializer = {
  name: 'msgpack',
  contentType: 'application/x-msgpack',
  contentEncoding: 'binary',
  encode: (value, path) => load<Msgpack>('@msgpack/msgpack').encode(toForeign(value, path), { useBigInt64: true }),
  decode(body, maxDepth) {
    const bytes = typeof body === 'string' ? Buffer.from(body, 'utf8') : body;
    return fromForeign(load<Msgpack>('@msgpack/msgpack').decode(bytes, { useBigInt64: true }), maxDepth);
  },
};

const yaml: Serializer = {
  name: 'yaml',
  contentType: 'application/x-yaml',
  contentEncoding: 'utf-8',
  // 1.1 is what PyYAML reads: there `yes` and `on` are booleans, so such strings get quotes
  encode: (value, path) => load<Yaml>('yaml').stringify(toForeign(value, path), { version: '1.1', aliasDuplicateObjects: false }),
  decode(body, maxDepth) {
    const text = typeof body === 'string' ? body : textOfUtf8(body);
    return fromForeign(
      load<Yaml>('yaml').parse(text, {
        version: '1.1',
        intAsBigInt: true,
        maxAliasCount: 100,
        logLevel: 'error',
        mapAsMap: true,
      }),
      maxDepth,
    );
  },
};

interface Msgpack {
  encode(value: unknown, options: object): Uint8Array;
  decode(bytes: Uint8Array, options: object): unknown;
}

interface Yaml {
  stringify(value: unknown, options: object): string;
  parse(text: string, options: object): unknown;
}

const SERIALIZERS: Readonly<Record<SerializerName, Serializer>> = { json, msgpack, yaml };
const BY_CONTENT_TYPE: ReadonlyMap<string, Serializer> = new Map([json, msgpack, yaml].map((each) => [each.contentType, each]));
const JSON_ONLY: readonly SerializerName[] = ['json'];
const require = createRequire(import.meta.url);

/** Loads an optional package; synchronous, so that encoding stays synchronous. */
function load<T>(name: string): T {
  try {
    return require(name) as T;
  } catch (cause) {
    throw new ConfigError(
      'E_DRIVER_MISSING',
      `the package ${name} is needed for this serializer and is not installed: npm install ${name}`,
      { cause },
    );
  }
}

/** The serializer's content type and encoding, as they stand in messages. */
export function contentOf(name: SerializerName): { readonly contentType: string; readonly contentEncoding: string } {
  return SERIALIZERS[name];
}

/**
 * Encodes one value with a serializer other than the default one.
 * @throws ArgumentError `E_NOT_SERIALISABLE`
 * @throws ConfigError `E_DRIVER_MISSING` when msgpack or yaml is not installed
 */
export function encodeWith(name: SerializerName, value: unknown, path: string, mode: JsonMode): EncodedBody {
  try {
    const encoded = SERIALIZERS[name].encode(value, path, mode);
    return typeof encoded === 'string' ? { encoding: 'utf8', data: encoded } : { encoding: 'binary', data: encoded };
  } catch (error) {
    if (error instanceof LovageError) throw error;
    throw new ArgumentError('E_NOT_SERIALISABLE', `${path} cannot be written as ${name}`, { cause: error });
  }
}

/** `gzip` as Celery means it: a zlib stream (RFC 1950), not a gzip file. Its name on the wire: */
export const GZIP_CONTENT_TYPE = 'application/x-gzip';

/** Compresses a body the way Celery's `compression='gzip'` does. */
export function compressBody(body: EncodedBody): EncodedBody {
  return { encoding: 'binary', data: deflateSync(bytesOf(body)) };
}

/** The body's bytes, still serialised (and compressed, if it is). */
export function bytesOf(body: EncodedBody): Uint8Array {
  switch (body.encoding) {
    case 'utf8':
      return Buffer.from(body.data, 'utf8');
    case 'base64':
      return Buffer.from(body.data, 'base64');
    case 'binary':
      return body.data;
  }
}

/**
 * Decodes the body of any message: task, control, event or result.
 * @throws WireError `E_MESSAGE_TOO_LARGE`, `E_CONTENT_REFUSED` (pickle always), `E_COMPRESSION`, `E_DECODE`
 * @throws ConfigError `E_DRIVER_MISSING` when an accepted serializer's package is not installed
 */
export function decodeBody(message: WireMessage, options?: DecodeBodyOptions): unknown {
  const maxBytes = options?.maxBytes ?? MAX_BODY_BYTES;
  const serializer = accepted(message.contentType, options?.accept ?? JSON_ONLY);
  const { body } = message;
  checkSize(body, maxBytes);
  const compression = message.headers.compression;
  let data: string | Uint8Array;
  if (compression !== undefined && compression !== null) data = decompress(bytesOf(body), compression, maxBytes);
  else data = body.encoding === 'utf8' ? body.data : bytesOf(body);
  if (!UTF8_NAMES.has(message.contentEncoding) && serializer !== msgpack) {
    throw new WireError('E_DECODE', `content encoding ${show(message.contentEncoding)} is not utf-8`);
  }
  try {
    return serializer.decode(data, options?.maxDepth ?? 200);
  } catch (error) {
    if (error instanceof LovageError) throw error;
    throw new WireError(
      'E_DECODE',
      `not ${serializer.name}: ${error instanceof Error ? error.message.slice(0, 200) : 'unreadable'}`,
      { cause: error },
    );
  }
}

/** Python's codec names for what JSON and YAML bodies are; `binary` is what kombu writes when nothing is said. */
const UTF8_NAMES: ReadonlySet<string> = new Set(['utf-8', 'utf8', 'UTF-8', 'us-ascii', 'ascii', 'binary', '']);

function accepted(contentType: string, accept: readonly SerializerName[]): Serializer {
  const serializer = BY_CONTENT_TYPE.get(contentType);
  if (serializer && accept.includes(serializer.name)) return serializer;
  const why = serializer
    ? `is ${serializer.name}, which is not turned on here`
    : contentType === 'application/x-python-serialize'
      ? 'is pickle, which is never read'
      : contentType === ''
        ? 'is missing'
        : 'is not one that can be read';
  throw new WireError('E_CONTENT_REFUSED', `content type ${show(contentType)} ${why} (accepted: ${accept.join(', ')})`);
}

function checkSize(body: EncodedBody, maxBytes: number): void {
  const length = body.data.length;
  // a character of text is at most three bytes; base64 carries three bytes in four characters
  const bytes = body.encoding === 'base64' ? Math.floor((length * 3) / 4) - 2 : length;
  if (bytes > maxBytes || (body.encoding === 'utf8' && length * 3 > maxBytes && Buffer.byteLength(body.data) > maxBytes)) {
    throw new WireError(
      'E_MESSAGE_TOO_LARGE',
      `the body has about ${bytes} bytes, more than the ${maxBytes} that are decoded here`,
    );
  }
}

function decompress(bytes: Uint8Array, compression: unknown, maxBytes: number): Uint8Array {
  const limit = { maxOutputLength: maxBytes };
  try {
    if (compression === GZIP_CONTENT_TYPE) return unzipSync(bytes, { ...limit, finishFlush: constants.Z_FINISH });
    if (compression === 'application/x-brotli') return brotliDecompressSync(bytes, limit);
  } catch (cause) {
    const tooLarge = (cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw new WireError(
      'E_COMPRESSION',
      tooLarge ? `the compressed body grows beyond ${maxBytes} bytes` : 'the compressed body is corrupt',
      { cause },
    );
  }
  throw new WireError('E_COMPRESSION', `compression ${show(compression)} is unknown here: send with gzip (zlib) or brotli`);
}

function show(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 80));
}
