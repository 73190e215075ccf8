/** Scheme → driver of the store of schedules, loaded lazily; and which place that is when nobody names one. */
import { BrokerError, ConfigError } from '../core/errors.js';
import type { BeatStore, BeatStoreOptions } from './beat-store.js';

const KEEPS =
  /^(memory|file|redis|rediss|sentinel|redis\+sentinel|rediss\+sentinel|redis\+cluster|rediss\+cluster|postgres|postgresql):/i;
const AMQP = /^amqps?:/i;
const MEMORY = /^memory:/i;

/**
 * The broker itself where it can keep schedules, so that a run is handed out in one step with the decision; else the result store; else a
 * broker that knows at least who leads.
 * @throws ConfigError `E_CONFIG_CONFLICT` when neither can
 */
export function beatStoreUrl({ brokerUrl, resultUrl }: { readonly brokerUrl: string; readonly resultUrl: string }): string {
  // Memory is of one process: beside a broker that several share, each would lead by itself.
  const isShared = !MEMORY.test(resultUrl) || MEMORY.test(brokerUrl);
  if (KEEPS.test(brokerUrl)) return brokerUrl;
  if (KEEPS.test(resultUrl) && isShared) return resultUrl;
  // No place for entries, but for one leader and what he has decided.
  if (AMQP.test(brokerUrl)) return brokerUrl;
  throw new ConfigError(
    'E_CONFIG_CONFLICT',
    'schedules need a place that several schedulers share: this broker cannot keep them, and neither can this result store. Give redis://, postgresql:// or file:PATH as results (--results, LOVAGE_RESULT_URL)',
  );
}

/** @throws ConfigError `E_CONFIG_URL`, `E_DRIVER_MISSING` */
export async function openBeatStore(options: BeatStoreOptions): Promise<BeatStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(options.url)?.[1]?.toLowerCase();
  if (scheme === 'memory') return (await import('./stores/memory.js')).openMemoryBeat(options);
  if (scheme === 'file') return (await import('./stores/file/index.js')).openFileBeat(options);
  if (AMQP.test(options.url)) return (await import('./stores/rabbitmq/index.js')).openRabbitmqBeat(options);
  if (scheme === 'postgresql' || scheme === 'postgres')
    return (await import('./stores/postgres/index.js')).openPostgresBeat(options);
  if (KEEPS.test(options.url)) return (await import('./stores/redis/index.js')).openRedisBeat(options);
  throw new ConfigError(
    'E_CONFIG_URL',
    `schedules cannot be kept at ${scheme ?? 'a URL without a scheme'}: use redis://, postgresql:// or file:PATH`,
  );
}

/** @throws BrokerError `E_CLOSED` */
export function assertOpen(isClosed: boolean): void {
  if (isClosed) throw new BrokerError('E_CLOSED', 'the store of schedules was used after close()');
}
