/** The demo on the embedded broker: the words a newcomer sees. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { findPackages } from '../../demo/analyse.js';
import { runDemo } from './run-demo.js';

/** The demo's folder for temporary files, so that what it leaves behind is told from what others do. */
const temporary = mkdtempSync(join(tmpdir(), 'lovage-demo-test-'));
afterAll(() => rmSync(temporary, { recursive: true }));

test('runs every package once, survives the kill, gives the right answer and leaves nothing behind', {
  timeout: 100_000,
}, async () => {
  const packages = (await findPackages(process.cwd())).length;
  const { code, stdout, stderr } = await runDemo([], { TMPDIR: temporary });
  expect(code, stderr).toBe(0);
  expect(stderr).toMatch(/killed worker demo\d \(process \d+\) with -9/);
  expect(stdout).toMatch(/^LICENCE +PACKAGES\nMIT +\d+/m);
  expect(stdout).toContain('the same answer');
  const last = stdout.trimEnd().split('\n').at(-1);
  expect(last).toMatch(new RegExp(`^sent ${packages}, run ${packages}, run twice because of the kill \\d+, lost: 0$`));
  expect(readdirSync(temporary).filter((name) => name.startsWith('lovage'))).toEqual([]);
});

test('fails with a reason when there is nothing to look at', async () => {
  const { code, stderr } = await runDemo(['--root', temporary, '--json']);
  expect(code).toBe(1);
  expect(stderr).toMatch(/has no packages in node_modules/);
});
