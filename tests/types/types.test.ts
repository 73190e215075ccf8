/**
 * Compiles the type tests against the built package, as users see it, with the two TypeScript versions that are promised.
 * A `@ts-expect-error` above something that compiles is an error, so each negative case is a test of its own. Needs a build.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, '../..');

const COMPILERS = [
  { version: '5.9', folder: 'typescript-5.9' },
  { version: '7.0', folder: 'typescript' },
];

function compile(folder: string, args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(ROOT, 'node_modules', folder, 'bin/tsc'), ...args],
      { cwd: ROOT, maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) => {
        resolve({ code: error ? 1 : 0, output: stdout + stderr });
      },
    );
  });
}

describe.each(COMPILERS)('TypeScript $version', ({ version, folder }) => {
  test('is the version that is meant', () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'node_modules', folder, 'package.json'), 'utf8')) as { version: string };
    expect(manifest.version.startsWith(`${version}.`)).toBe(true);
  });

  test('accepts what must compile and refuses what must not', { timeout: 120_000 }, async () => {
    expect(await compile(folder, ['-p', join(HERE, 'tsconfig.json')])).toEqual({ code: 0, output: '' });
  });

  test('says in words why a value cannot travel', { timeout: 120_000 }, async () => {
    const { code, output } = await compile(folder, ['-p', join(HERE, 'fixtures/tsconfig.json'), '--pretty', 'false']);
    const errors = output.split(/\n(?=tests)/);
    expect(code).toBe(1);
    expect(errors).toHaveLength(3);
    expect(errors[0]).toContain('messages.ts(5,');
    expect(errors[0]).toContain('this result cannot travel');
    expect(errors[1]).toContain('messages.ts(6,');
    expect(errors[1]).toContain('an argument cannot travel');
    expect(errors[2]).toContain("Argument of type 'string' is not assignable to parameter of type 'number'");
  });
});
