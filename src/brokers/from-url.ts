/** Scheme → driver, each loaded only when its URL asks for it: a file user never loads a Redis client. */
import { ConfigError } from '../core/errors.js';
import { withBroadcastQueues } from './broadcast-queues.js';
import type { Broker, BrokerOptions } from './broker.js';
import { withExchangeCopies } from './exchange-copies.js';
import { NO_QUEUE_TABLE, warnOfQueueTable } from './queue-table.js';

/**
 * @throws ConfigError `E_CONFIG_URL` for an unknown scheme, `E_DRIVER_MISSING` when the client package is not installed
 */
export async function openBroker(options: BrokerOptions): Promise<Broker> {
  const { queues: table = NO_QUEUE_TABLE } = options;
  const broker = await openDriver(options);
  try {
    warnOfQueueTable(broker, table, options.logger);
    return withExchangeCopies(withBroadcastQueues(broker, table), table);
  } catch (error) {
    await broker.close();
    throw error;
  }
}

async function openDriver(options: BrokerOptions): Promise<Broker> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(options.url)?.[1]?.toLowerCase();
  switch (scheme) {
    case 'memory':
      return (await import('./memory/index.js')).openMemoryBroker(options);
    case 'file':
      return (await import('./file/index.js')).openFileBroker(options);
    case 'redis':
    case 'rediss':
    case 'sentinel':
    case 'redis+sentinel':
    case 'rediss+sentinel':
    case 'redis+cluster':
    case 'rediss+cluster':
      return (await import('./redis/index.js')).openRedisBroker(options);
    case 'amqp':
    case 'amqps':
      return (await import('./rabbitmq/index.js')).openRabbitmqBroker(options);
    case 'postgresql':
    case 'postgres':
      throw new ConfigError(
        'E_CONFIG_URL',
        'postgresql: is no broker here, only a result store: a database that workers poll for tasks is one that melts under them. Use file:PATH, redis:// or amqp:// as the broker and give this URL as results (--results, LOVAGE_RESULT_URL)',
      );
    default:
      throw new ConfigError(
        'E_CONFIG_URL',
        `broker URL ${JSON.stringify(options.url.replace(/\/\/[^@/]*@/, '//***@'))} has ${scheme ? `the unknown scheme '${scheme}'` : 'no scheme'}: use memory:, file:PATH, redis://, rediss://, sentinel://, redis+cluster://, amqp:// or amqps://`,
      );
  }
}
