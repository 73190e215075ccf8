/** A route that goes by an exchange, made whole with what the app's `queues` say of that exchange. Pure. */
import { declarationIn, type QueueTable } from '../brokers/queue-table.js';
import { topicMatcher } from '../brokers/topic-pattern.js';
import { ConfigError } from '../core/errors.js';
import { nearest } from './config-schema.js';
import type { Route } from './router.js';

/** The parts that such a route always has. `queue` is one that gets the message: for events and for people. */
export type ExchangeRoute = Required<Pick<Route, 'queue' | 'exchange' | 'routingKey'>>;

/**
 * The exchange must be in the table, because a message can only be confirmed if its exchange and queues are there, and we could not
 * know their types.
 * @throws ConfigError `E_CONFIG_RANGE`, `E_CONFIG_CONFLICT`
 */
export function resolveExchangeRoute(route: Route, table: QueueTable, what: string): ExchangeRoute {
  const { queue } = route;
  const row = queue === undefined ? null : declarationIn(table, queue);
  if (queue !== undefined && row === null)
    throw unknown(
      `${what}.queue`,
      queue,
      Object.keys(table.queues),
      'with an exchange or a routingKey it must be one of `queues`',
    );
  const exchange = route.exchange ?? row?.exchange;
  if (exchange === undefined)
    throw new ConfigError('E_CONFIG_CONFLICT', `${what} has a routingKey, and neither an exchange nor a queue: name one of them`);
  const bound = Object.entries(table.queues).filter(([, each]) => each.exchange === exchange);
  const [first] = bound;
  if (!first)
    throw unknown(
      `${what}.exchange`,
      exchange,
      Object.values(table.queues).map((each) => each.exchange),
      'it must be the exchange of one of `queues`',
    );
  if (row && row.exchange !== exchange)
    throw new ConfigError(
      'E_CONFIG_CONFLICT',
      `${what}: queue ${queue} is bound to exchange ${row.exchange}, not to ${exchange}: leave one of the two out`,
    );
  const type = first[1].exchangeType;
  const routingKey = route.routingKey ?? row?.routingKey ?? (type === 'fanout' || type === 'headers' ? '' : undefined);
  if (routingKey === undefined)
    throw new ConfigError('E_CONFIG_CONFLICT', `${what}: messages for the ${type} exchange ${exchange} need a routingKey`);
  if (typeof routingKey !== 'string' || Buffer.byteLength(routingKey) > 255)
    throw new ConfigError(
      'E_CONFIG_RANGE',
      `${what}.routingKey is ${JSON.stringify(routingKey)}: it must be text of 0 to 255 bytes`,
    );
  const fits = (pattern: string): boolean =>
    type === 'fanout' || type === 'headers' || (type === 'direct' ? pattern === routingKey : topicMatcher(pattern)(routingKey));
  const reached = bound.find(([, each]) => fits(each.routingKey)) ?? first;
  return { queue: queue ?? reached[0], exchange, routingKey };
}

function unknown(what: string, value: unknown, known: readonly string[], why: string): ConfigError {
  const guess = typeof value === 'string' ? nearest(value, known) : null;
  const hint = guess === null ? '' : `. Did you mean ${JSON.stringify(guess)}?`;
  return new ConfigError('E_CONFIG_RANGE', `${what} is ${JSON.stringify(value)}: ${why}${hint}`);
}
