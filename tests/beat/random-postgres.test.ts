/** Random lives of twenty schedulers on a private PostgreSQL. It hands nothing over itself: what it took counts as sent. */
import { startPostgres } from '../support/postgres-server.js';
import { randomCase } from './random-cases.js';

randomCase(
  'postgresql',
  async () => {
    const server = await startPostgres();
    // twenty pools, and as many connections that listen
    return { url: 'memory:random-postgresql', store: server.urlOf({ pool_max: '2' }), close: () => server.stop() };
  },
  false,
);
