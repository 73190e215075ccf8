/** App files as projects have them: TypeScript, ES modules, CommonJS and bundles, in every pool of the command line. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createApp } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CliWorker } from './cli-worker.js';
import { POOLS } from './harness.js';

const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');
let project: string;

const TYPESCRIPT = `import { createApp, taskContext } from 'lovage';
import { twice } from './lib/twice.js';
export const app = createApp({ name: 'files', broker: process.env.LOVAGE_TEST_BROKER as string });
export const check = app.fn('check', async (n: number): Promise<string> => {
  await null;
  return \`\${taskContext().name} \${twice(n)}\`;
});
`;
const COMMONJS = `const { createApp, taskContext } = require('lovage');
exports.app = createApp({ name: 'files', broker: process.env.LOVAGE_TEST_BROKER });
exports.check = exports.app.fn('check', async (n) => \`\${taskContext().name} \${2 * n}\`);
`;
/** Packages that are loaded only when an option asks for them. */
const LOADED_LATER = ['libsql', 'ioredis', 'amqplib', 'tsx', 'yaml', '@msgpack/msgpack'];

function bundle(output: string, ...options: string[]): void {
  const esbuild = join(root, 'node_modules/.bin/esbuild');
  const all = ['tasks.ts', '--bundle', '--platform=node', '--log-level=error', `--outfile=${output}`, ...options];
  execFileSync(esbuild, all, { cwd: project });
}

beforeAll(() => {
  project = realpathSync(mkdtempSync(join(tmpdir(), 'lovage-app-files-')));
  process.env.LOVAGE_TEST_BROKER = `file:${join(project, 'queue.db')}`;
  mkdirSync(join(project, 'lib'));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(root, join(project, 'node_modules/lovage'), 'dir');
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(project, 'lib/twice.ts'), 'export const twice = (n: number): number => 2 * n;\n');
  writeFileSync(join(project, 'tasks.ts'), TYPESCRIPT);
  writeFileSync(join(project, 'plain.cjs'), COMMONJS);
  bundle('bundle.mjs', '--format=esm', '--packages=external');
  bundle('bundle.cjs', '--format=cjs', '--packages=external');
  // the package inside the bundle, a second copy beside the worker's own
  const banner = "import { createRequire as require0 } from 'node:module'; const require = require0(import.meta.url);";
  bundle('whole.mjs', '--format=esm', `--banner:js=${banner}`, ...LOADED_LATER.map((name) => `--external:${name}`));
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

describe.each(POOLS)('pool %s', (pool) => {
  test.each(['tasks.ts', 'plain.cjs', 'bundle.mjs', 'bundle.cjs', 'whole.mjs'])(
    'runs the tasks of %s',
    async (file) => {
      const app = createApp({ name: 'client', broker: process.env.LOVAGE_TEST_BROKER as string });
      const worker = await CliWorker.start(['--app', join(project, file), '--pool', pool, '--grace', '1s']);
      try {
        const handles = await app.remote<[number], string>('check').sendMany([1, 2, 3].map((n) => ({ args: [n] as [number] })));
        const results = await Promise.all(handles.map((handle) => handle.result({ timeout: '20s' })));
        expect(results).toEqual(['check 2', 'check 4', 'check 6']);
        expect(await worker.stop()).toBe(0);
      } finally {
        await worker.stop();
        await app.close();
      }
    },
    60_000,
  );
});
