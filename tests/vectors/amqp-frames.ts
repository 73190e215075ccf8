/**
 * Basic properties as bytes, through the real AMQP client: what Python put on the socket is read by it, and what it puts on
 * the socket is compared with what Python put there.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

interface Definitions {
  decode(id: number, buffer: Buffer): Record<string, unknown>;
  encodeProperties(id: number, channel: number, size: number, fields: object): Buffer;
}

const require = createRequire(import.meta.url);
// not among the package's exports, hence by its path
const definitions = require(join(dirname(require.resolve('amqplib')), 'lib/defs.js')) as Definitions;
const BASIC_PROPERTIES = 60;
/** Frame type, channel, size, class, weight and body size come before the flags. */
const BEFORE_FLAGS = 19;

const codec = require(join(dirname(require.resolve('amqplib')), 'lib/codec.js')) as {
  encodeTable(buffer: Buffer, table: object, offset: number): number;
};

/** The bytes that the client writes for a table of headers. */
export function encodeTable(table: object): Buffer {
  const buffer = Buffer.alloc(64 * 1024);
  return buffer.subarray(0, codec.encodeTable(buffer, table, 0));
}

/** What the client gives for these bytes. */
export function decodeProperties(frame: Buffer): Record<string, unknown> {
  return definitions.decode(BASIC_PROPERTIES, frame);
}

/** The bytes that the client writes for these properties: flags and fields, without the frame around them. */
export function encodeProperties(properties: object): Buffer {
  const frame = definitions.encodeProperties(BASIC_PROPERTIES, 1, 0, properties);
  return frame.subarray(BEFORE_FLAGS, frame.length - 1);
}
