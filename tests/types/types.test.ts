/**
 * Compiles the type tests against the built package, as users see it, with the two TypeScript versions that are promised.
 * A `@ts-expect-error` above something that compiles is an error, so each negative case is a test of its own. Needs a build.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

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
    expect(errors).toHaveLength(4);
    expect(errors[0]).toContain('messages.ts(5,');
    expect(errors[0]).toContain('this result cannot travel');
    expect(errors[1]).toContain('messages.ts(6,');
    expect(errors[1]).toContain('an argument cannot travel');
    expect(errors[2]).toContain("Argument of type 'string' is not assignable to parameter of type 'number'");
    expect(errors[3]).toContain('messages.ts(10,');
    expect(errors[3]).toContain('WrongJoint<"count.rows", number, "shout.name", [previous: string]>');
  });
});

describe('the cost of chains to the compiler', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'lovage-types-'));
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(ROOT, join(folder, 'node_modules/lovage'), 'junction');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('400 tasks and 390 chains of three stay cheap', { timeout: 120_000 }, async () => {
    writeFileSync(join(folder, 'project.mts'), project(400, 390));
    const tsconfig = {
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: { typeRoots: [join(ROOT, 'node_modules/@types')] },
      include: ['project.mts'],
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(tsconfig));
    const { code, output } = await compile('typescript-5.9', ['-p', folder, '--extendedDiagnostics', '--pretty', 'false']);
    expect(output.split('\n').filter((line) => line.includes('error TS'))).toEqual([]);
    expect(code).toBe(0);
    const instantiations = Number(/^Instantiations: +(\d+)$/m.exec(output)?.[1]);
    // counted by the compiler, so that no load of the machine changes it: 239,000 when written, 31,000 without the chains
    expect(instantiations).toBeLessThan(600_000);
  });
});

/**
 * Each task gives another type, which the next one takes, so that the compiler cannot reuse what it knows of a joint. Every
 * second one is an object task.
 */
function project(tasks: number, chains: number): string {
  const lines = ["import { chain, createApp } from 'lovage';", 'const app = createApp();'];
  const isObject = (nth: number): boolean => nth % 2 === 1;
  for (let nth = 0; nth < tasks; nth++) {
    const [takes, gives] = [`at: number; field${nth}: string`, `{ at: number; field${nth + 1}: string }`];
    const made = isObject(nth)
      ? `app.remote<{ ${takes}; by: number }, ${gives}>('task.${nth}', { by: 'keyword' })`
      : `app.fn('task.${nth}', (value: { ${takes} }, by: number): ${gives} => ({ at: by, field${nth + 1}: value.field${nth} }))`;
    lines.push(`export const task${nth} = ${made};`);
  }
  const whole = (nth: number): string =>
    isObject(nth) ? `task${nth}.si({ at: 1, field${nth}: '', by: 2 })` : `task${nth}.si({ at: 1, field${nth}: '' }, 2)`;
  const behind = (nth: number): string => (isObject(nth) ? `task${nth}.s({ by: 2 })` : `task${nth}.s(2)`);
  for (let nth = 0; nth < chains; nth++)
    lines.push(`export const chain${nth} = chain(${whole(nth)}, ${behind(nth + 1)}, ${behind(nth + 2)});`);
  return `${lines.join('\n')}\n`;
}
