/** Queues: `add_consumer`, `cancel_consumer`, `active_queues`. */
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
  { name: 'active_queues', run: (_args, { port }) => port.queues().map(describe) },
];

/** Queues of Lovage are bound as Celery's are by default: a direct exchange and a routing key of the queue's own name. */
function addConsumer(args: CommandArgs, { port, logger }: CommandContext): object {
  const queue = textOf(args, 'queue');
  const { exchange, exchange_type: type, routing_key: key } = args;
  const isPlain =
    [exchange, key].every((value) => value == null || value === '' || value === queue) &&
    (type == null || type === '' || type === 'direct');
  if (!isPlain)
    throw new CommandError(
      'ValueError',
      `a Lovage worker consumes ${queue} with a direct exchange and a routing key of the same name: leave exchange, exchange_type and routing_key out`,
    );
  port.addQueue(queue);
  logger.info({ queue }, 'consuming from a further queue, by remote control');
  return ok(`add consumer ${queue}`);
}

/** A kombu Queue, as its `as_dict` shows it. */
function describe(name: string): object {
  return {
    name,
    exchange: {
      name,
      type: 'direct',
      arguments: null,
      durable: true,
      passive: false,
      auto_delete: false,
      delivery_mode: null,
      no_declare: false,
    },
    routing_key: name,
    queue_arguments: null,
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
