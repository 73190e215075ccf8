/** AMQP frames made by hand: message headers nested deeper than any client library can write. */

const frame = (type: number, channel: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([0xce])]);
};

/** A content header frame whose only property is a table in a table in a table …, with a text of `padding` bytes beside it. */
export function deepHeaderFrame(levels: number, bodyBytes: number, padding = 0, channel = 1): Buffer {
  const nested = Buffer.alloc(levels * 7);
  for (let level = 0; level < levels; level += 1) {
    nested.write('\x01aF', level * 7, 'latin1');
    nested.writeUInt32BE((levels - level - 1) * 7, level * 7 + 3);
  }
  const beside = Buffer.alloc(padding === 0 ? 0 : 7 + padding, 0x20);
  if (padding > 0) {
    beside.write('\x01pS', 0, 'latin1');
    beside.writeUInt32BE(padding, 3);
  }
  const head = Buffer.alloc(18);
  head.writeUInt16BE(60, 0);
  head.writeBigUInt64BE(BigInt(bodyBytes), 4);
  head.writeUInt16BE(1 << 13, 12);
  head.writeUInt32BE(beside.length + nested.length, 14);
  return frame(2, channel, Buffer.concat([head, beside, nested]));
}

/** `basic.publish` to a queue by the default exchange, with such headers. */
export function deepPublish(queue: string, levels: number, body: string, channel: number): Buffer {
  const key = Buffer.from(queue);
  const method = Buffer.concat([Buffer.from([0, 60, 0, 40, 0, 0, 0, key.length]), key, Buffer.from([0])]);
  return Buffer.concat([
    frame(1, channel, method),
    deepHeaderFrame(levels, Buffer.byteLength(body), 0, channel),
    frame(3, channel, Buffer.from(body)),
  ]);
}
