/** `lovage queues find | remove | move` on the embedded broker. */
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { Project } from './run-cli.js';

const project = new Project();
let count = 0;
let queue = '';

async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await project.run([...args, '--json']);
  return JSON.parse(stdout) as Record<string, unknown>;
}
const ready = async (name: string): Promise<unknown> =>
  ((await json('queues', 'list', name)) as unknown as { ready: number }[])[0]?.ready;

beforeEach(async () => {
  count += 1;
  queue = `q${count}`;
  const rows = [
    ['math.add', `${queue}.a`, [1, 2]],
    ['mails.send', `${queue}.b`, ['x']],
    ['math.add', `${queue}.c`, [3, 4]],
  ].map(([task, id, args]) => JSON.stringify({ task, id, args, options: { queue } }));
  for (const row of rows) {
    const { task, id, args } = JSON.parse(row) as { task: string; id: string; args: unknown[] };
    await project.run(['send', task, '--id', id, '--args', JSON.stringify(args), '--queue', queue]);
  }
});
afterAll(() => project.remove());

describe('find', () => {
  test('shows where a task waits, over all queues, and as a table', async () => {
    const { code, stdout, stderr } = await project.run(['queues', 'find', `${queue}.c`]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^QUEUE +ID +TASK +ARGUMENTS +NOT BEFORE\n/);
    expect(stdout).toContain(`${queue}.c`);
    expect(stdout.trimEnd().split('\n')).toHaveLength(2);
  });

  test('finds by task, with a limit, in one queue', async () => {
    const ids = async (...more: string[]): Promise<unknown[]> =>
      ((await json('queues', 'find', '--task', 'math.add', '--queue', queue, ...more))['waiting'] as { id: string }[]).map(
        ({ id }) => id,
      );
    expect(await ids()).toEqual([`${queue}.a`, `${queue}.c`]);
    expect(await ids('--limit', '1')).toEqual([`${queue}.a`]);
  });

  test('nothing found is no error, and nothing asked for is', async () => {
    expect(await project.run(['queues', 'find', 'nobody'])).toEqual({
      code: 0,
      stdout: '',
      stderr: 'no such message waits, and no worker holds it\n',
    });
    const { code, stderr } = await project.run(['queues', 'find']);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('--task') as string });
  });
});

describe('remove', () => {
  test('asks, or needs --yes; --dry-run only counts', async () => {
    expect(await project.run(['queues', 'remove', `${queue}.a`])).toMatchObject({ code: 2 });
    expect(await project.run(['queues', 'remove', '--task', 'math.add', '--queue', queue, '--dry-run'])).toMatchObject({
      code: 0,
      stdout: '2 messages of 3; dry run, nothing was removed\n',
    });
    expect(await ready(queue)).toBe(3);
  });

  test('takes out what is named, wherever it waits, and names what is not there', async () => {
    const { code, stdout, stderr } = await project.run(['queues', 'remove', `${queue}.a`, 'nobody', '--yes']);
    expect({ code, stdout }).toEqual({ code: 65, stdout: '1 message removed\n' });
    expect(stderr).toMatch(/1 of those named do not wait there \(nobody\)[\s\S]*E_MESSAGE_MISSING/);
    expect(await ready(queue)).toBe(2);
    expect(await json('queues', 'remove', '--task', 'math.add', '--queue', queue, '--yes')).toEqual({
      removed: 1,
      matching: 1,
      looked: 2,
      missing: [],
    });
  });
});

describe('move', () => {
  test('moves what matches to the other queue', async () => {
    const to = `${queue}-to`;
    expect(await project.run(['queues', 'move', queue, to])).toMatchObject({ code: 2 });
    expect(await project.run(['queues', 'move', queue, to, '--task', 'math.add', '--limit', '1', '--yes'])).toMatchObject({
      code: 0,
      stdout: '1 message moved\n',
    });
    expect(await project.run(['queues', 'move', queue, to, `${queue}.b`])).toMatchObject({
      code: 0,
      stdout: '1 message moved\n',
    });
    expect([await ready(queue), await ready(to)]).toEqual([1, 2]);
    expect(await json('queues', 'move', queue, to, '--yes')).toMatchObject({ moved: 1 });
    expect([await ready(queue), await ready(to)]).toEqual([0, 3]);
  });

  test('not into the same queue', async () => {
    const { code, stderr } = await project.run(['queues', 'move', queue, queue, '--yes']);
    expect({ code, stderr }).toMatchObject({ code: 78, stderr: expect.stringContaining('E_CONFIG_CONFLICT') as string });
  });
});
