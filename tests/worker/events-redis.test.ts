/** Events of a worker on Redis; the cases are in events-cases.ts. */
import { startRedis } from '../support/redis-server.js';
import { eventsSuite } from './events-cases.js';

eventsSuite('redis', async () => {
  const server = await startRedis();
  let database = 0;
  return {
    // Each test has a database of its own: what one leaves behind must not be heard in the next.
    url: () => `${server.url.replace(/\/\d*$/, '')}/${(database += 1)}`,
    close: () => server.stop(),
  };
});
