/** Everything that Python put on RabbitMQ's wire, down to the bytes of the basic properties. */
import { describe, expect, test } from 'vitest';
import { fromAmqpProperties, toAmqpProperties } from '../../src/wire/amqp-message.js';
import { isBrokerMark } from '../../src/wire/task-headers.js';
import { decodeProperties, encodeProperties } from './amqp-frames.js';
import { checkMessage, textOf } from './message-checks.js';
import { unitsOfKind } from './vector-files.js';

describe('AMQP messages recorded from Celery', () => {
  test.each(unitsOfKind('amqp'))('$where', ({ record, vector }) => {
    const body = Buffer.from(record.body_base64, 'base64');
    const frame = Buffer.from(record.properties_frame_base64 ?? '', 'base64');
    const message = fromAmqpProperties(decodeProperties(frame), body);

    // the frame that was recorded says what the recorder's own reader saw
    const given = record.properties;
    expect(message).toMatchObject({ contentType: given.content_type, contentEncoding: given.content_encoding });
    const { content_type: _type, content_encoding: _encoding, origin: _origin, ...properties } = given;
    expect(message.properties).toEqual(properties);
    for (const [name, value] of Object.entries(record.headers))
      if (!isBrokerMark(name)) expect(message.headers[name]).toEqual(value);

    if (record.body_text !== undefined && message.headers.compression === undefined)
      expect(textOf(message)).toBe(record.body_text);
    checkMessage(message, { exchange: record.exchange, routingKey: record.routing_key }, vector);

    // RabbitMQ writes its marks with types of its own; Celery's messages come out byte for byte
    const again = toAmqpProperties(message);
    expect(again.body.equals(body)).toBe(true);
    if (Object.keys(message.headers).some(isBrokerMark)) return;
    const written = encodeProperties({ ...again.properties, deliveryMode: message.properties.delivery_mode });
    expect(written.toString('latin1')).toBe(frame.toString('latin1'));
  });
});
