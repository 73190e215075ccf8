// @ts-check
/**
 * `npm run setup:nodes`: brings the other Node lines that we promise (the npm package `node`), each into a folder of its
 * own under `.lovage/nodes`, so that nothing of them reaches our own node_modules. Quick when they are there.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE, nodeBinary, OTHER_NODES } from './environment.mjs';

/** @param {string} line */
function versionOf(line) {
  const binary = nodeBinary(line);
  if (!binary) return null;
  const run = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  return run.status === 0 && run.stdout.startsWith(`v${line}.`) ? run.stdout.trim() : null;
}

/** @param {string} line */
function install(line) {
  const folder = join(CACHE, 'nodes', line);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // The package's install script puts the binary of this platform in place; npm asks that scripts be allowed by name.
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, allowScripts: { node: true } }));
  const run = spawnSync(
    'npm',
    ['install', '--prefix', folder, '--ignore-scripts=false', '--no-audit', '--no-fund', `node@${line}`],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
      shell: process.platform === 'win32',
    },
  );
  if (run.status !== 0) throw new Error(`npm could not install node@${line}`);
  const version = versionOf(line);
  if (!version) throw new Error(`node@${line} was installed, but its binary does not run on ${process.platform} ${process.arch}`);
  return version;
}

const failures = [];
for (const line of OTHER_NODES) {
  try {
    const version = versionOf(line);
    console.log(version ? `Node ${line}: ${version} is here` : `Node ${line}: installed ${install(line)}`);
  } catch (error) {
    failures.push(line);
    console.error(`Node ${line}: ${error instanceof Error ? error.message : error}`);
  }
}
process.exitCode = failures.length > 0 ? 1 : 0;
