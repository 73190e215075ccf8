/** What a refused declaration means. */
import { AMQP_NOT_FOUND, AMQP_RESOURCE_LOCKED, amqpCode } from '../../clients/amqp-setup.js';
import { BrokerError, toError } from '../../core/errors.js';

/** The broker's refusal in words of ours. */
export function declarationError(error: unknown, kind: 'queue' | 'exchange', name: string): Error {
  const cause = toError(error);
  switch (amqpCode(error)) {
    case 403:
      return new BrokerError(
        'E_BROKER_AUTH',
        `the broker does not let this user declare or use ${kind} ${name}: ${cause.message}`,
        { cause },
      );
    case AMQP_NOT_FOUND:
      return new BrokerError('E_QUEUE_MISSING', `${kind} ${name} does not exist on this broker`, { cause });
    case AMQP_RESOURCE_LOCKED:
      return new BrokerError('E_NOT_SUPPORTED', `${kind} ${name} is exclusive to another connection: choose another name`, {
        cause,
      });
    default:
      return cause;
  }
}
