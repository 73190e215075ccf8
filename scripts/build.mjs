// @ts-check
/**
 * `npm run build`: compiles src to dist and removes what an earlier build left there of files that are gone. It never
 * empties dist, so programs that run from it go on while it is rebuilt.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { ROOT } from './environment.mjs';

const dist = join(ROOT, 'dist');
const compile = spawnSync(
  process.execPath,
  [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', join(ROOT, 'tsconfig.build.json')],
  {
    stdio: 'inherit',
  },
);
if (compile.status !== 0) process.exit(compile.status ?? 1);
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const output = join(entry.parentPath, entry.name);
  const source = join(ROOT, 'src', relative(dist, output).replace(/\.(d\.ts|js|js\.map)$/, '.ts'));
  if (!existsSync(source)) rmSync(output);
}
const command = join(dist, 'cli/main.js');
if (existsSync(command)) chmodSync(command, 0o755);
