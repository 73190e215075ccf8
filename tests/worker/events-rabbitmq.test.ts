/** Events of a worker on RabbitMQ; the cases are in events-cases.ts. */
import { startRabbitmq } from '../support/rabbitmq-server.js';
import { eventsSuite } from './events-cases.js';

eventsSuite('rabbitmq', async () => {
  const server = await startRabbitmq();
  let hosts = 0;
  return {
    // Each test has a virtual host of its own: what one leaves behind must not be heard in the next.
    url: () => {
      const host = `events${(hosts += 1)}`;
      server.ctl('add_vhost', host);
      server.ctl('set_permissions', '-p', host, 'guest', '.*', '.*', '.*');
      return `${server.url}/${host}`;
    },
    close: () => server.stop(),
  };
});
