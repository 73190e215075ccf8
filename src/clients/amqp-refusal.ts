/** Why RabbitMQ did not let us in: credentials, virtual host, or TLS, with what to do about it. Next stop: `amqp.ts`, which asks. */
import { BrokerError } from '../core/errors.js';
import type { AmqpTarget } from './amqp-url.js';
import { tlsRefusal } from './tls.js';

/** The client does not tell why the broker closed the door after the login (`ConnectionClose`): that is the virtual host. */
const REFUSED = /\b403 \(|ACCESS_REFUSED|NOT_ALLOWED|got <ConnectionClose/;

/** `E_BROKER_AUTH` for what will not mend itself; `null` if the connection failed for another reason. */
export function refusalOf(error: Error, { shown, tls }: Pick<AmqpTarget, 'shown' | 'tls'>): BrokerError | null {
  const handshake = tls === null ? null : tlsRefusal(error);
  if (handshake !== null)
    return new BrokerError('E_BROKER_AUTH', `no TLS connection to ${shown}: ${handshake}`, { cause: error });
  if (!REFUSED.test(error.message)) return null;
  return new BrokerError('E_BROKER_AUTH', `${shown} refused the user, password or virtual host: ${error.message}`, {
    cause: error,
  });
}

/** A port for TLS hangs up on what is no TLS: about one time in nine the reset comes before the client sees the end (300 tries). */
const HUNG_UP = /abruptly during opening handshake|ECONNRESET/;

/** What may be behind it when the broker only hangs up. */
export function hintOf(error: Error, { tls }: Pick<AmqpTarget, 'tls'>): string {
  return tls === null && HUNG_UP.test(error.message) ? '; if that is its port for TLS, write amqps://' : '';
}
