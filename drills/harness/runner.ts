/**
 * Runs one drill on one broker and says what came of it. Owns the drill's folder and broker; a drill that throws is red.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BrokerName, openBroker } from './brokers.js';
import { type Claim, claim } from './claims.js';
import { seeded } from './random.js';
import type { Kit } from './scene.js';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** One incident that must not happen. */
export interface Drill {
  readonly name: string;
  /** What happens, in a sentence or two: shown on the page. */
  readonly scenario: string;
  readonly brokers: readonly BrokerName[];
  /**
   * Those that the test suite plays it on; all by default. Fewer where the broker makes no difference, where its bounds have not
   * been seen to hold often enough on a busy machine, or for the suite's ten minutes: the others are run by hand.
   */
  readonly testedOn?: readonly BrokerName[];
  run(kit: Kit): Promise<void>;
}

export interface Figure {
  readonly name: string;
  readonly value: number | string;
  readonly unit: string;
}

/** What is kept of a run, and what the page is made of. */
export interface DrillResult {
  readonly drill: string;
  readonly scenario: string;
  readonly broker: BrokerName;
  readonly size: 'quick' | 'full';
  readonly commit: string;
  readonly seed: string;
  readonly startedAt: string;
  readonly seconds: number;
  readonly machine: string;
  readonly claims: readonly Claim[];
  readonly figures: readonly Figure[];
  /** What the drill itself died of. */
  readonly error: string | null;
  readonly ok: boolean;
}

export interface RunOptions {
  readonly broker: BrokerName;
  readonly size: 'quick' | 'full';
  readonly seed: string;
  readonly say: (text: string) => void;
  /** Keep ledger and logs of a red run, for whoever looks for the cause. Default true. */
  readonly keepRed?: boolean;
}

/** The commit that is tested; drills take their seed from it, so that each commit tries something else and can be repeated. */
export function commitHash(): string {
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'no-git';
  }
}

/** Green: at least one claim was made, all hold, and nothing was thrown. */
export const isGreen = (claims: readonly Claim[], error: string | null): boolean =>
  error === null && claims.length > 0 && claims.every(({ holds }) => holds);

export async function runDrill(
  drill: Drill,
  { broker: name, size, seed, say, keepRed = true }: RunOptions,
): Promise<DrillResult> {
  const folder = mkdtempSync(join(tmpdir(), `lovage-drill-${drill.name}-`));
  const startedMs = Date.now();
  const claims: Claim[] = [];
  const figures: Figure[] = [];
  let error: string | null = null;
  const broker = await openBroker(name, folder);
  const kit: Kit = {
    ...{ broker, size, folder, say },
    random: seeded(`${seed}/${drill.name}/${name}`),
    claim: (...parts) => void claims.push(claim(...parts)),
    figure: (figure, value, unit = '') => void figures.push({ name: figure, value, unit }),
  };
  try {
    await drill.run(kit);
  } catch (thrown) {
    error = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  } finally {
    await broker.close();
  }
  const ok = isGreen(claims, error);
  if (ok || !keepRed) rmSync(folder, { recursive: true, force: true });
  else say(`ledger and logs are kept in ${folder}`);
  return {
    ...{
      drill: drill.name,
      scenario: drill.scenario,
      broker: name,
      size,
      commit: commitHash(),
      seed,
      startedAt: new Date(startedMs).toISOString(),
    },
    seconds: Math.round((Date.now() - startedMs) / 100) / 10,
    machine: `${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`,
    ...{ claims, figures, error, ok },
  };
}
