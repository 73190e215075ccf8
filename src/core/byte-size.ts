/** Sizes are strings with a unit in public and numbers ending in `Bytes` inside. */
import { ConfigError } from './errors.js';

/** A size with its unit: `'300MiB'`, `'1.5GiB'`, `'500MB'`. `KiB`, `MiB`, `GiB` count by 1,024, `KB`, `MB`, `GB` by 1,000. */
export type ByteSize = `${number}${'B' | 'KiB' | 'MiB' | 'GiB' | 'KB' | 'MB' | 'GB'}`;

const UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, KB: 1e3, MB: 1e6, GB: 1e9 } as const;
const PATTERN = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|KB|MB|GB)$/;

/**
 * Bytes of a size.
 * @param name the option's name, for the message
 * @throws ConfigError `E_CONFIG_RANGE` when it is not a size
 */
export function sizeBytes(value: ByteSize | string, name: string): number {
  const match = typeof value === 'string' ? PATTERN.exec(value) : null;
  const bytes = match ? Math.round(Number(match[1]) * UNITS[match[2] as keyof typeof UNITS]) : 0;
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `${name} is ${JSON.stringify(value)}, not a size: write a number with its unit, for example '300MiB' or '1GiB'`,
  );
}

/** A size for people, in MiB. */
export function formatBytes(bytes: number): string {
  return `${Math.round((bytes / UNITS.MiB) * 10) / 10}MiB`;
}
