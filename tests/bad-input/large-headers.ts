/** AMQP frames made by hand: headers of texts, as large as a frame allows. */
import type { Channel } from 'amqplib';

const frame = (type: number, channel: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([0xce])]);
};

const short = (text: string): Buffer => Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)]);
const long = (bytes: Buffer): Buffer => {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(bytes.length);
  return Buffer.concat([size, bytes]);
};

/** Publishes JSON to a queue with these headers. */
export function publishWithHeaders(
  channel: Channel,
  queue: string,
  headers: Readonly<Record<string, string>>,
  body: string,
): void {
  const { ch, connection } = channel as unknown as {
    readonly ch: number;
    readonly connection: { sendBytes(bytes: Buffer): void };
  };
  const table = Buffer.concat(
    Object.entries(headers).map(([name, value]) => Buffer.concat([short(name), Buffer.from('S'), long(Buffer.from(value))])),
  );
  const head = Buffer.alloc(14);
  head.writeUInt16BE(60, 0);
  head.writeBigUInt64BE(BigInt(Buffer.byteLength(body)), 4);
  head.writeUInt16BE((1 << 15) | (1 << 14) | (1 << 13), 12);
  const properties = Buffer.concat([head, short('application/json'), short('utf-8'), long(table)]);
  const method = Buffer.concat([Buffer.from([0, 60, 0, 40, 0, 0, 0]), short(queue), Buffer.from([0])]);
  connection.sendBytes(Buffer.concat([frame(1, ch, method), frame(2, ch, properties), frame(3, ch, Buffer.from(body))]));
}
