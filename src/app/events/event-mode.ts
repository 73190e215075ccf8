/** When a worker sends events, as the option `events` says it. */
import { ConfigError } from '../../core/errors.js';

/** Always, only while somebody listens, or not unless it is asked to. */
export type EventMode = 'always' | 'on-demand' | 'off';

/** @throws ConfigError `E_CONFIG_RANGE` */
export function eventMode(value: unknown, key: string): EventMode {
  if (value === true) return 'always';
  if (value === false) return 'off';
  if (value === 'on-demand') return value;
  throw new ConfigError('E_CONFIG_RANGE', `${key} is ${JSON.stringify(value)}: use true, false or 'on-demand'`);
}
