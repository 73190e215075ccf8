/** Drills at their quick size on one broker, as people run them. The chaos rig draws new faults for each commit: it is run by hand. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import type { BrokerName } from '../../drills/harness/brokers.js';
import { ROOT } from '../../drills/harness/runner.js';
import { DRILLS } from '../../drills/table.js';

const TSX = createRequire(import.meta.url).resolve('tsx/cli');
const LIMIT_MS = 240_000;

function run(...args: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn(process.execPath, [TSX, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-20_000);
    });
  }
  // TERM first: it ends its workers and servers itself.
  const late = setTimeout(() => child.kill('SIGTERM'), LIMIT_MS - 20_000);
  return new Promise((resolve) => {
    child.once('exit', (code) => {
      clearTimeout(late);
      resolve({ code, output });
    });
  });
}

/** Registers the tests of one broker. */
export async function quickDrills(broker: BrokerName): Promise<void> {
  for (const [name, load] of Object.entries(DRILLS)) {
    const { drill } = await load();
    if (!(drill.testedOn ?? drill.brokers).includes(broker)) continue;
    test(
      `every claim of the drill ${name} holds on ${broker}`,
      async () => {
        const { code, output } = await run('drills/main.ts', name, '--quick', '--broker', broker);
        expect(code, output).toBe(0);
      },
      LIMIT_MS,
    );
  }
}
