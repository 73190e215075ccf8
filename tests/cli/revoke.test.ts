/** `lovage revoke` on the embedded broker: what a person does with tasks that must not run. */
import { afterAll, describe, expect, test } from 'vitest';
import { Project } from './run-cli.js';

const project = new Project();
afterAll(() => project.remove());

async function sent(...options: string[]): Promise<string> {
  const { code, stdout, stderr } = await project.run(['send', 'some.task', '--json', ...options]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return (JSON.parse(stdout) as { id: string }).id;
}

async function stateOf(id: string): Promise<string> {
  const { stdout } = await project.run(['result', id, '--json']);
  return (JSON.parse(stdout) as { state: string }).state;
}

describe('lovage revoke', () => {
  test('removes what waits for its time, records what lies in a queue, and says which', { timeout: 60_000 }, async () => {
    const [waits, lies] = [await sent('--countdown', '2h'), await sent()];
    const { code, stdout } = await project.run(['revoke', waits, lies, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual([
      { id: waits, outcome: 'removed' },
      { id: lies, outcome: 'recorded' },
    ]);
    expect([await stateOf(waits), await stateOf(lies)]).toEqual(['REVOKED', 'REVOKED']);
    const again = await project.run(['revoke', waits]);
    expect(again.stdout).toBe(`${waits}  recorded: the worker that gets it drops it\n`);
  });

  test('refuses what means nothing, with exit code 2', { timeout: 60_000 }, async () => {
    for (const args of [['revoke'], ['revoke', ''], ['revoke', 'a', '--eta', 'tomorrow']])
      expect(await project.run(args), args.join(' ')).toMatchObject({ code: 2 });
    const { code, stderr } = await project.run(['revoke', 'a', '--signal', '9']);
    expect([code, stderr]).toEqual([78, expect.stringContaining('SIGTERM')]);
  });

  test('says that the broker cannot be reached, with exit code 69', { timeout: 60_000 }, async () => {
    const { code, stderr } = await project.run(['revoke', 'a', '--broker', 'redis://127.0.0.1:1/0', '--timeout', '1s']);
    expect([code, stderr]).toEqual([69, expect.stringContaining('127.0.0.1:1')]);
  });
});
