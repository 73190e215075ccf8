/**
 * Runs the Python and TypeScript files of `examples/interop/` against each other, compares what they print with their
 * last comment, and holds the code in the guide to them. Needs a build.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, PYTHONS, startPythonWorker } from '../support/celery.js';
import { type Fleet, type FleetName, type OurWorker, openFleet, startOurWorker } from './fleet.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const EXAMPLES = `${ROOT}examples/interop/`;
const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const CASES = (['redis', 'rabbitmq with rpc results'] as const).flatMap((name) =>
  VERSIONS.map((version) => [name, version] as const),
);

const read = (file: string): string => readFileSync(ROOT + file, 'utf8');

/** What a program prints; its error output if it fails. */
function outputOf(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const options = {
    cwd: ROOT,
    env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', PYTHONIOENCODING: 'utf-8', ...env },
    timeout: 60_000,
  };
  return new Promise((resolve) => {
    execFile(command, [...args], options, (error, stdout, stderr) => resolve(error ? `${stdout}${stderr}` : stdout));
  });
}

describe.each<readonly [FleetName, '5.2' | '5.6']>(CASES)('%s, Celery %s', (name, version) => {
  let fleet: Fleet;
  let ours: OurWorker;
  let theirs: Awaited<ReturnType<typeof startPythonWorker>>;
  beforeAll(async () => {
    fleet = await openFleet(name);
    ours = await startOurWorker(fleet);
    theirs = await startPythonWorker(version, fleet.broker, fleet.results, {
      folder: EXAMPLES,
      module: 'tasks',
      queue: 'scores',
    });
  }, 90_000);
  afterAll(async () => {
    await theirs?.stop();
    await ours?.stop();
    await fleet?.close();
  });

  test('client.py prints what its end says', { timeout: 70_000 }, async () => {
    const expected = /\n# Output:\n((?:# .*\n)+)$/.exec(read('examples/interop/client.py'))?.[1]?.replace(/^# /gm, '');
    expect(await outputOf(PYTHONS[version], [`${EXAMPLES}client.py`, fleet.broker, fleet.results])).toBe(expected);
  });

  test('client.ts prints what its end says', { timeout: 70_000 }, async () => {
    const expected = /\/\* Output:\n([\s\S]*?)\*\/\n$/.exec(read('examples/interop/client.ts'))?.[1];
    const env = { LOVAGE_BROKER_URL: fleet.broker, LOVAGE_RESULT_URL: fleet.results };
    expect(await outputOf(process.execPath, [`${ROOT}node_modules/tsx/dist/cli.mjs`, `${EXAMPLES}client.ts`], env)).toBe(
      expected,
    );
  });
});

describe('docs/guides/celery-interop.md', () => {
  const blocks = [...read('docs/guides/celery-interop.md').matchAll(/```(?:ts|python)\n([\s\S]*?)```/g)].map(
    (match) => match[1] ?? '',
  );

  test('has code in both languages', () => {
    expect(blocks.length).toBeGreaterThan(3);
  });

  test.each(blocks.map((block) => [block.split('\n')[0] ?? '', block]))(
    'the block that begins "%s" is part of an example',
    (first, block) => {
      const example = /^(?:\/\/|#) (examples\/interop\/[\w-]+\.(?:ts|py))$/.exec(first)?.[1];
      expect(example, 'a block begins with a comment that names its example').toBeDefined();
      expect(read(example ?? '')).toContain(block.slice(block.indexOf('\n') + 1));
    },
  );
});
