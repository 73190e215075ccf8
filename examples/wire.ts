/** Reads and writes Celery's wire format without a broker: for tools. Run it: npx tsx examples/wire.ts */
import {
  decodeEnvelope,
  decodeResultMeta,
  decodeTaskBody,
  encodeEnvelope,
  encodeTaskMessage,
  queueKey,
  readTaskHeaders,
  WireDecimal,
} from 'lovage/wire';

// a message as `apply_async` would make it, and the element that goes into the Redis list
const message = encodeTaskMessage(
  { task: 'shop.charge', id: 'order-42', args: [new WireDecimal('19.90')], kwargs: { at: new Date(0) }, secretArgs: [0] },
  { nowMs: Date.now() },
);
const element = encodeEnvelope(message, { exchange: '', routingKey: 'celery', deliveryTag: crypto.randomUUID() });
console.log('LPUSH', queueKey('celery', message.properties.priority ?? 0), `${element.slice(0, 40)}…`);

// and back: headers first, the body only if you want it
const arrived = decodeEnvelope(element);
const headers = readTaskHeaders(arrived.message);
console.log(headers?.task, headers?.id, headers?.argsrepr);
const { args, kwargs } = decodeTaskBody(arrived.message);
console.log(String(args[0]), kwargs.at);

// a result that a Python worker stored under celery-task-meta-<id>
const stored =
  '{"status": "SUCCESS", "result": [NaN, 9007199254740993], "traceback": null, "children": [], "task_id": "order-42"}';
console.log(decodeResultMeta(stored).result);

/* Output:
LPUSH celery {"body":"W1t7Il9fdHlwZV9fIjoiZGVjaW1hbCI…
shop.charge order-42 ('***',)
19.90 1970-01-01T00:00:00.000Z
[ NaN, 9007199254740993n ]
*/
