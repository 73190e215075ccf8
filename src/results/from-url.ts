/** Scheme → driver, loaded lazily. `rpc:` needs the broker's URL, because the answers travel over the broker. */
import { ConfigError } from '../core/errors.js';
import type { ResultStore, ResultStoreOptions } from './result-store.js';

/** The store that fits a broker when none is configured. */
export function defaultResultUrl(brokerUrl: string): string {
  return /^amqps?:/i.test(brokerUrl) ? `rpc:${brokerUrl}` : brokerUrl;
}

/** @throws ConfigError `E_CONFIG_URL`, `E_DRIVER_MISSING` */
export async function openResultStore(options: ResultStoreOptions): Promise<ResultStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(options.url)?.[1]?.toLowerCase();
  switch (scheme) {
    case 'memory':
      return (await import('./memory/index.js')).openMemoryResults(options);
    case 'file':
      return (await import('./file/index.js')).openFileResults(options);
    case 'redis':
    case 'rediss':
    case 'sentinel':
    case 'redis+sentinel':
    case 'rediss+sentinel':
    case 'redis+cluster':
    case 'rediss+cluster':
      return (await import('./redis/index.js')).openRedisResults(options);
    case 'postgresql':
    case 'postgres':
      return (await import('./postgres/index.js')).openPostgresResults(options);
    case 'rpc':
      return (await import('./rpc/index.js')).openRpcResults({ ...options, url: options.url.slice('rpc:'.length) });
    default:
      throw new ConfigError(
        'E_CONFIG_URL',
        `result store URL ${JSON.stringify(options.url.replace(/\/\/[^@/]*@/, '//***@'))} has ${scheme ? `the unknown scheme '${scheme}'` : 'no scheme'}: use memory:, file:PATH, redis://, rediss://, sentinel://, redis+cluster://, postgresql:// or rpc: (with an amqp broker)`,
      );
  }
}
