/** The test command itself: a runner that loses failures, or leaves processes, would make every other test worthless. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { endLeftOvers, leftOvers } from '../scripts/left-overs.mjs';
import { needsOf } from '../scripts/suites.mjs';
import CountReporter from '../scripts/vitest-report.mjs';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-runner-'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

describe('what a test file needs', () => {
  test.each([
    ['src/app/publish.test.ts', []],
    ['src/clients/redis-url.test.ts', ['redis']],
    ['tests/conformance/redis.test.ts', ['redis']],
    ['tests/rabbitmq/recovery.test.ts', ['rabbitmq']],
    ['tests/conformance/postgres.test.ts', ['postgres']],
    ['tests/redistribute.test.ts', []],
    ['src/wire/redis-envelope.test.ts', []],
    ['tests/interop/python-calls-us.test.ts', ['redis', 'rabbitmq', 'celery-system']],
  ])('is told by the words of its path: %s', (file, needs) => {
    expect(needsOf(file)).toEqual(needs);
  });
});

describe('processes that a run leaves behind', () => {
  test('are found by the temporary folder of the run and ended', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      env: { ...process.env, TMPDIR: folder },
      stdio: 'ignore',
    });
    const ended = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
    await vi.waitFor(() => expect(leftOvers(folder).map(({ pid }) => pid)).toEqual([child.pid]));
    const found = await endLeftOvers(folder);
    expect(found.map(({ pid }) => pid)).toEqual([child.pid]);
    expect(await ended).toBe('SIGKILL');
    expect(leftOvers(folder)).toEqual([]);
  });
});

describe('the counts of a run', () => {
  const named = (fullName: string, state: string) => ({ fullName, result: () => ({ state }) });
  const module = (
    tests: readonly ReturnType<typeof named>[],
    suiteErrors: readonly string[] = [],
    errors: readonly string[] = [],
  ) => ({
    moduleId: '/nowhere/a.test.ts',
    errors: () => errors.map((message) => ({ message })),
    children: {
      allTests: () => tests,
      allSuites: () => suiteErrors.map((message) => ({ fullName: 'suite', errors: () => [{ message }] })),
    },
  });

  function report(modules: readonly ReturnType<typeof module>[], errors: readonly unknown[] = []): Record<string, unknown> {
    const file = join(folder, 'report.json');
    vi.stubEnv('LOVAGE_TEST_REPORT', file);
    new CountReporter().onTestRunEnd(modules as never, errors);
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  }

  test('hold every test once', () => {
    expect(report([module([named('a', 'passed'), named('b', 'failed'), named('c', 'skipped')])])).toMatchObject({
      passed: 1,
      failed: 1,
      skipped: 1,
    });
  });

  test('count a hook that threw, a file that did not load and an error outside of tests as failures', () => {
    expect(report([module([named('a', 'skipped')], ['hook broke'])])).toMatchObject({ failed: 1 });
    expect(report([module([], [], ['no such module'])])).toMatchObject({ failed: 1, idle: [] });
    expect(report([module([named('a', 'passed')])], [new Error('outside')])).toMatchObject({ passed: 1, failed: 1 });
  });

  test('count a test that never finished as a failure', () => {
    expect(report([module([named('a', 'pending')])])).toMatchObject({ passed: 0, failed: 1 });
  });

  test('name a file in which nothing ran', () => {
    const { idle } = report([module([named('a', 'skipped')])]);
    expect(idle).toHaveLength(1);
  });
});
