/** The Redis drivers on a cluster. What a cluster does that one server does not is in tests/redis/cluster.test.ts. */
import { guideUser } from '../support/redis-acl.js';
import { startCluster } from '../support/redis-cluster.js';
import { EVERY_PATTERN, type RedisPlace, redisConformance } from './redis-suites.js';

const BASE = '{suite}';
/** As the guide says. */
const CLUSTER_RIGHTS = ['+cluster|slots', '+cluster|keyslot'];
/** The suites stop the server for seconds; nobody is to take that for a death. */
const PATIENCE = ['--cluster-node-timeout', '60000'];

const start = async (): Promise<RedisPlace> => {
  const user = [...guideUser('lovage', 'secret', BASE), ...CLUSTER_RIGHTS, ...EVERY_PATTERN];
  const cluster = await startCluster({ durable: true, args: [...PATIENCE, ...user] });
  return {
    server: await cluster.owner(BASE),
    url: (prefix) => cluster.url(prefix).replace('://', '://lovage:secret@'),
    stop: () => cluster.stop(),
  };
};

redisConformance('redis cluster', BASE, start, [{ capability: 'celery', why: 'its transport knows no clusters' }]);
