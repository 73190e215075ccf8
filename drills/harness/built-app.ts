/**
 * The drills' tasks as JavaScript, as a team deploys them: a worker then starts in half the time that TypeScript takes,
 * which counts where workers are killed every few seconds.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TSC = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
const APPS = join(ROOT, 'drills', 'apps');
const FLAGS = ['--noCheck', '--ignoreConfig', '--module', 'nodenext', '--target', 'es2022', '--rootDir', APPS];

/** Compiles them into the folder, beside the package itself, and returns the file for `--app`. */
export function buildTasks(folder: string): string {
  const built = join(folder, 'app');
  mkdirSync(join(built, 'node_modules'), { recursive: true });
  symlinkSync(ROOT, join(built, 'node_modules', 'lovage'));
  writeFileSync(join(built, 'package.json'), '{"type":"module"}\n');
  execFileSync(process.execPath, [TSC, join(APPS, 'tasks.ts'), ...FLAGS, '--outDir', built]);
  return join(built, 'tasks.js');
}
