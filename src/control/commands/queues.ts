/** Queues: `add_consumer`, `cancel_consumer`, `active_queues`. */
import type { QueueDeclaration } from '../../brokers/queue-table.js';
import type { CommandArgs, CommandContext, ControlCommand } from '../command.js';
import { CommandError, ok, textOf } from '../command.js';

export const queueCommands: readonly ControlCommand[] = [
  {
    name: 'add_consumer',
    parameters: ['queue', 'exchange?', 'exchange_type?', 'routing_key?'],
    open: true,
    run: addConsumer,
  },
  {
    name: 'cancel_consumer',
    parameters: ['queue'],
    open: true,
    run(args, { port, logger }) {
      const queue = textOf(args, 'queue');
      port.removeQueue(queue);
      logger.info({ queue }, 'no longer consuming from a queue, by remote control');
      return ok(`no longer consuming from ${queue}`);
    },
  },
  { name: 'active_queues', run: (_args, { port }) => port.queues().map((name) => describe(name, port.declaration(name))) },
];

/** Queues are bound as the app declares them, else as Celery's are by default: a direct exchange and a key of the queue's own name. */
function addConsumer(args: CommandArgs, { port, logger }: CommandContext): object {
  const queue = textOf(args, 'queue');
  const { exchange, exchange_type: type, routing_key: key } = args;
  const declared = port.declaration(queue) ?? plain(queue);
  const same = (value: unknown, ours: string): boolean => value == null || value === '' || value === ours;
  if (!same(exchange, declared.exchange) || !same(type, declared.exchangeType) || !same(key, declared.routingKey))
    throw new CommandError(
      'ValueError',
      `a Lovage worker consumes ${queue} with the ${declared.exchangeType} exchange ${declared.exchange} and the routing key ${declared.routingKey}: leave exchange, exchange_type and routing_key out`,
    );
  port.addQueue(queue);
  logger.info({ queue }, 'consuming from a further queue, by remote control');
  return ok(`add consumer ${queue}`);
}

const plain = (queue: string): QueueDeclaration => ({
  exchange: queue,
  exchangeType: 'direct',
  routingKey: queue,
  arguments: {},
});

/** A kombu Queue, as its `as_dict` shows it. */
function describe(name: string, declaration: QueueDeclaration | null): object {
  const { exchange, exchangeType, routingKey, arguments: given } = declaration ?? plain(name);
  return {
    name,
    exchange: {
      name: exchange,
      type: exchangeType,
      arguments: null,
      durable: true,
      passive: false,
      auto_delete: false,
      delivery_mode: null,
      no_declare: false,
    },
    routing_key: routingKey,
    queue_arguments: Object.keys(given).length > 0 ? given : null,
    binding_arguments: null,
    consumer_arguments: null,
    durable: true,
    exclusive: false,
    auto_delete: false,
    no_ack: false,
    alias: null,
    bindings: [],
    no_declare: null,
    expires: null,
    message_ttl: null,
    max_length: null,
    max_length_bytes: null,
    max_priority: null,
  };
}
