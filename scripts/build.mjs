// @ts-check
/**
 * `npm run build`: compiles src to dist and removes what earlier builds left there. It never empties dist, so programs
 * that run from it go on while it is rebuilt.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ROOT } from './environment.mjs';

const dist = join(ROOT, 'dist');
const compile = spawnSync(
  process.execPath,
  [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', join(ROOT, 'tsconfig.build.json'), '--listEmittedFiles'],
  { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 * 2 ** 20 },
);
const lines = (compile.stdout ?? '').split('\n').filter(Boolean);
const emitted = new Set(
  lines.flatMap((line) => (line.startsWith('TSFILE: ') ? [resolve(ROOT, line.slice('TSFILE: '.length).trim())] : [])),
);
for (const line of lines) if (!line.startsWith('TSFILE: ')) console.error(line);
if (compile.status !== 0 || emitted.size === 0) {
  process.stderr.write(compile.stderr ?? '');
  process.exit(compile.status || 1);
}

for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const output = join(entry.parentPath, entry.name);
  if (entry.isFile() && !emitted.has(output)) rmSync(output);
}
const command = join(dist, 'cli/main.js');
if (existsSync(command)) chmodSync(command, 0o755);
