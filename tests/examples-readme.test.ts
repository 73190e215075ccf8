/** The first screen of the README, run as it stands: its files, its commands, its answers. Needs a build. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
const command = join(ROOT, 'dist/cli/main.js');
const tsx = join(ROOT, 'node_modules/tsx/dist/cli.mjs');

/** The code block that starts with a comment naming this file. */
function block(file: string): string {
  const code = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)]
    .map((match) => match[1] ?? '')
    .find((text) => text.startsWith(`// ${file}`));
  if (code === undefined) throw new Error(`README.md has no block for ${file}`);
  return code;
}

let project: string;
let worker: ChildProcess | undefined;

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'lovage-readme-'));
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(ROOT, join(project, 'node_modules/lovage'));
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  for (const file of ['tasks.ts', 'client.ts']) writeFileSync(join(project, file), block(file));
});

afterAll(async () => {
  if (worker && worker.exitCode === null) {
    const ended = new Promise((resolve) => worker?.once('exit', resolve));
    worker.kill('SIGTERM');
    await ended;
  }
  rmSync(project, { recursive: true, force: true });
});

test('the example of the first screen prints 5 on the command line and in code', async () => {
  const [, workerLine, sendLine, answer] = /npx lovage (worker .*?) &\nnpx lovage (send .*?)\s+# prints (\S+)/.exec(readme) ?? [];
  if (!workerLine || !sendLine || !answer) throw new Error('the README shows no worker and send command');
  const words = (line: string): string[] => [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '');

  worker = spawn(process.execPath, [command, ...words(workerLine)], { cwd: project, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  worker.stderr?.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  const sent = spawnSync(process.execPath, [command, ...words(sendLine)], { cwd: project, encoding: 'utf8' });
  expect({ stdout: sent.stdout.trim(), stderr: sent.stderr, log: sent.status === 0 ? '' : log }).toMatchObject({
    stdout: answer,
  });
  expect(existsSync(join(project, '.lovage/queue.db'))).toBe(true);

  const client = spawnSync(process.execPath, [tsx, 'client.ts'], { cwd: project, encoding: 'utf8' });
  expect({ stdout: client.stdout.trim(), stderr: client.stderr }).toEqual({ stdout: '5', stderr: '' });
});
