/**
 * What is kept of drills: one JSON file a drill and broker. Full runs are kept in `drills/results/` and make the page
 * `docs/drills.md`, together with the seeds of the chaos rig; quick ones only serve `--resume`, in the project's cache folder.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BrokerName } from './harness/brokers.js';
import { type DrillResult, ROOT } from './harness/runner.js';
import { page } from './page.js';

export const PAGE_FILE = join(ROOT, 'docs/drills.md');

export function resultFolder(size: 'quick' | 'full'): string {
  return size === 'full' ? join(ROOT, 'drills/results') : join(ROOT, '.lovage/drills');
}

export function keepResult(folder: string, result: DrillResult): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${result.drill}.${result.broker}.json`), `${JSON.stringify(result, null, 2)}\n`);
}

export function keptResult(folder: string, drill: string, broker: BrokerName): DrillResult | null {
  const file = join(folder, `${drill}.${broker}.json`);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as DrillResult) : null;
}

/** All results of full runs, by name. */
export function keptResults(): DrillResult[] {
  const folder = resultFolder('full');
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  return files.sort().map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as DrillResult);
}

const CHAOS_FOLDER = join(ROOT, 'drills/results/chaos');
const chaosFile = (broker: BrokerName, seed: string): string => join(CHAOS_FOLDER, `${broker}.${seed}.json`);

/** The chaos rig keeps one file a broker and seed: the last run of that seed. */
export function keepChaos(result: DrillResult): void {
  mkdirSync(CHAOS_FOLDER, { recursive: true });
  writeFileSync(chaosFile(result.broker, result.seed), `${JSON.stringify(result, null, 2)}\n`);
}

export function keptChaos(): DrillResult[] {
  if (!existsSync(CHAOS_FOLDER)) return [];
  return readdirSync(CHAOS_FOLDER)
    .sort()
    .map((name) => JSON.parse(readFileSync(join(CHAOS_FOLDER, name), 'utf8')) as DrillResult);
}

export function writePage(): void {
  writeFileSync(PAGE_FILE, page(keptResults(), keptChaos()));
}
