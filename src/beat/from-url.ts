/** Scheme → driver of the store of schedules, loaded lazily; and which place that is when nobody names one. */
import { BrokerError, ConfigError } from '../core/errors.js';
import type { BeatStore, BeatStoreOptions } from './beat-store.js';

const KEEPS = /^(memory|file|redis|rediss|sentinel|redis\+sentinel|rediss\+sentinel|redis\+cluster|rediss\+cluster):/i;

/**
 * The broker itself where it can keep schedules, so that a run is handed out in one step with the decision; else the result store.
 * @throws ConfigError `E_CONFIG_CONFLICT` when neither can
 */
export function beatStoreUrl({ brokerUrl, resultUrl }: { readonly brokerUrl: string; readonly resultUrl: string }): string {
  for (const url of [brokerUrl, resultUrl]) if (KEEPS.test(url)) return url;
  throw new ConfigError(
    'E_CONFIG_CONFLICT',
    'schedules need a place that several schedulers share: this broker cannot keep them, and neither can this result store. Give redis:// or file:PATH as results (--results, LOVAGE_RESULT_URL)',
  );
}

/** @throws ConfigError `E_CONFIG_URL`, `E_DRIVER_MISSING` */
export async function openBeatStore(options: BeatStoreOptions): Promise<BeatStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(options.url)?.[1]?.toLowerCase();
  if (scheme === 'memory') return (await import('./stores/memory.js')).openMemoryBeat(options);
  if (scheme === 'file') return (await import('./stores/file/index.js')).openFileBeat(options);
  if (KEEPS.test(options.url)) return (await import('./stores/redis/index.js')).openRedisBeat(options);
  throw new ConfigError(
    'E_CONFIG_URL',
    `schedules cannot be kept at ${scheme ?? 'a URL without a scheme'}: use redis:// or file:PATH`,
  );
}

/** @throws BrokerError `E_CLOSED` */
export function assertOpen(isClosed: boolean): void {
  if (isClosed) throw new BrokerError('E_CLOSED', 'the store of schedules was used after close()');
}
