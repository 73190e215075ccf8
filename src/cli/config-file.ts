/** `lovage.config.ts` in the current folder: what stands for `--app`, `--broker` and `--results`, if the file is there. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { checkKeys, checkObject } from '../app/config-schema.js';
import { ConfigError, toError } from '../core/errors.js';
import { loadModule, prepareLoader } from '../worker/executor/load-module.js';

/** The export `config` of a `lovage.config.ts`. */
export interface CommandLineConfig {
  /** App file, relative to the current folder. */
  readonly app?: string;
  readonly broker?: string;
  readonly results?: string;
}

const NAMES = ['lovage.config.ts', 'lovage.config.mts', 'lovage.config.js', 'lovage.config.mjs'];
const KEYS: ReadonlySet<string> = new Set<keyof CommandLineConfig>(['app', 'broker', 'results']);

/** @throws ConfigError `E_CONFIG_*` when the file is there and wrong */
export async function readConfigFile(): Promise<CommandLineConfig> {
  const name = NAMES.find((candidate) => existsSync(candidate));
  if (name === undefined) return {};
  let exports: Readonly<Record<string, unknown>>;
  try {
    const file = resolve(name);
    exports = await loadModule(file, await prepareLoader(file));
  } catch (thrown) {
    throw new ConfigError('E_CONFIG_TYPE', `${name} could not be loaded: ${toError(thrown).message}`, { cause: thrown });
  }
  const config = exports.config ?? exports.default;
  if (config === undefined)
    throw new ConfigError('E_CONFIG_TYPE', `${name} exports no "config": write export const config = { app: './tasks.ts' }`);
  checkObject(config, name);
  checkKeys(config, KEYS, name);
  for (const [key, value] of Object.entries(config)) {
    if (value !== undefined && typeof value !== 'string')
      throw new ConfigError('E_CONFIG_TYPE', `${name}: ${key} must be a string`);
  }
  return config as CommandLineConfig;
}
