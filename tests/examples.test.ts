/**
 * Runs every example as its first line says and compares what it prints with the comment at its end; and holds the
 * code in the guides to the examples, so that a page cannot show what does not run. Needs a build.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const EXAMPLES = readdirSync(join(ROOT, 'examples')).filter((name) => name.endsWith('.ts'));
/** Guides whose TypeScript is cut from the examples. */
const GUIDES = [
  'docs/guides/control.md',
  'docs/guides/events.md',
  'docs/guides/tasks.md',
  'docs/guides/rate-limits.md',
  'docs/guides/schedules.md',
  'docs/guides/testing.md',
  'docs/guides/workers.md',
  'docs/guides/workflows.md',
];

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

function run(example: string): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-example-'));
  const args = [join(ROOT, 'node_modules/tsx/dist/cli.mjs'), join(ROOT, 'examples', example)];
  // Without the reader's own settings: an example says itself which broker it uses.
  const { LOVAGE_BROKER_URL: _broker, LOVAGE_RESULT_URL: _results, ...env } = process.env;
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: folder, env, timeout: 60_000 }, (error, stdout, stderr) => {
      rmSync(folder, { recursive: true, force: true });
      resolve({ code: error ? 1 : 0, stdout, stderr });
    });
  });
}

describe('examples', () => {
  test('there are some', () => {
    expect(EXAMPLES.length).toBeGreaterThan(4);
  });

  test.each(EXAMPLES)('%s prints what its end says', { timeout: 70_000 }, async (example) => {
    const source = read(`examples/${example}`);
    const expected = /\/\* Output:\n([\s\S]*?)\*\/\n$/.exec(source)?.[1];
    expect(expected, `examples/${example} ends with a comment that begins with "Output:"`).toBeDefined();
    expect(source).toContain(`npx tsx examples/${example}`);
    const { code, stdout, stderr } = await run(example);
    expect({ stdout, stderr: code === 0 ? '' : stderr }).toEqual({ stdout: expected, stderr: '' });
  });
});

describe.each(GUIDES)('%s', (guide) => {
  const blocks = [...read(guide).matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');

  test('has code', () => {
    expect(blocks.length).toBeGreaterThan(0);
  });

  test.each(blocks.map((block) => [block.split('\n')[0] ?? '', block]))(
    'the block that begins "%s" is part of an example',
    (first, block) => {
      const example = /^\/\/ (examples\/[\w-]+\.ts)$/.exec(first)?.[1];
      expect(example, 'a block begins with a comment that names its example').toBeDefined();
      expect(read(example ?? '')).toContain(block.slice(block.indexOf('\n') + 1));
    },
  );
});
