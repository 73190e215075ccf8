/** The commands against a worker on the embedded broker: what a newcomer types first. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Project, type RunningCli } from './run-cli.js';

const project = new Project();
let worker: RunningCli;

beforeAll(async () => {
  project.write(
    'tasks.ts',
    `import { createApp, taskContext } from 'lovage';
export const app = createApp({ name: 'shop', routes: { 'reports.*': { queue: 'slow' } } });
export const add = app.fn('math.add', (x: number, y: number) => x + y, { params: ['x', 'y'] });
export const fail = app.fn('math.fail', (message: string): null => { throw new RangeError(message); });
export const echo = app.fn('echo', (...args: string[]) => ({ args, headers: taskContext().headers as Record<string, string>, attempt: taskContext().attempt }));
export const report = app.fn('reports.make', () => 'made');
`,
  );
  worker = project.start(['worker', '--app', './tasks.ts', '--threads', '1']);
  await worker.until('worker ready');
});
afterAll(() => project.remove());

describe('send', () => {
  test('prints the result with --wait', async () => {
    expect(await project.run(['send', 'math.add', '--args', '[2,3]', '--wait', '10s'])).toEqual({
      code: 0,
      stdout: '5\n',
      stderr: '',
    });
  });

  test('takes positions and keywords together', async () => {
    expect((await project.run(['send', 'math.add', '--args', '[2]', '--kwargs', '{"y":40}', '--wait', '10s'])).stdout).toBe(
      '42\n',
    );
  });

  test('prints the id alone, and result finds it', async () => {
    const { stdout } = await project.run(['send', 'math.add', '--args', '[20,3]']);
    expect(stdout).toMatch(/^[0-9a-f-]{36}\n$/);
    expect(await project.run(['result', stdout.trim(), '--wait', '10s'])).toEqual({ code: 0, stdout: '23\n', stderr: '' });
    const shown = await project.run(['result', stdout.trim()]);
    expect(shown.stdout).toMatch(/^id +\S+\nstate +SUCCESS\nresult +23\nfinished +\d{4}-/);
  });

  test('with --json prints one document', async () => {
    const { stdout } = await project.run([
      'send',
      'echo',
      '--args',
      '["ü"]',
      '--header',
      'tenant=acme',
      '--header',
      'a=b=c',
      '--wait',
      '10s',
      '--json',
    ]);
    expect(JSON.parse(stdout)).toMatchObject({
      state: 'SUCCESS',
      result: { args: ['ü'], headers: { tenant: 'acme', a: 'b=c' }, attempt: 1 },
    });
  });

  test('with --dedupe sends a task once, and says so', async () => {
    const send = ['send', 'math.add', '--args', '[1,1]', '--dedupe', 'two', '--dedupe-for', '1h', '--json'];
    const first = JSON.parse((await project.run(send)).stdout) as Record<string, unknown>;
    const second = JSON.parse((await project.run(send)).stdout) as Record<string, unknown>;
    expect(first).toEqual({ id: expect.any(String), deduplicated: false });
    expect(second).toEqual({ id: first.id, deduplicated: true });
    expect((await project.run([...send.slice(0, -1), '--wait', '10s'])).stdout).toBe('2\n');
    expect(await project.run(send.slice(0, 6))).toMatchObject({ code: 2, stderr: expect.stringContaining('--dedupe-for') });
  });

  test('a file whose lines have dedupe keys can be sent again', async () => {
    const line = (n: number, key: string): string =>
      JSON.stringify({ task: 'math.add', args: [n, n], options: { dedupe: { key, for: '1h' } } });
    project.write('once.jsonl', `${[line(1, 'a'), line(2, 'b'), line(3, 'a')].join('\n')}\n`);
    expect((await project.run(['send', '--file', 'once.jsonl'])).stdout).toBe(
      '2 tasks sent, 1 left out: they were sent with the same dedupe keys before\n',
    );
    const { stdout } = await project.run(['send', '--file', 'once.jsonl', '--json']);
    expect(JSON.parse(stdout)).toEqual({ tasks: 3, sent: 0, deduplicated: 3, bad: 0 });
  });

  test('a failed task exits 1 and shows its error', async () => {
    const { code, stdout, stderr } = await project.run(['send', 'math.fail', '--args', '["too far"]', '--wait', '10s']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/RangeError: too far/);
    const json = await project.run(['send', 'math.fail', '--args', '["too far"]', '--wait', '10s', '--json']);
    expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: 'E_TASK_FAILED', type: 'RangeError' } });
  });

  test.each([
    [['--args', '[1,2,3]'], 'takes at most 2 arguments'],
    [['--args', '[1]'], 'needs \\"y\\"'],
    [['--kwargs', '{"z":1}'], 'no parameter \\"z\\"'],
  ])('arguments that the task does not take (%j) exit 1 with E_TASK_FAILED', async (args, says) => {
    const { code, stderr } = await project.run(['send', 'math.add', ...args, '--wait', '10s', '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'E_TASK_FAILED', type: 'ArgumentError' } });
    expect(stderr).toContain(says);
  });

  test('a result that does not come in time exits 1 and names the id', async () => {
    const { code, stderr } = await project.run([
      'send',
      'math.add',
      '--args',
      '[1,1]',
      '--countdown',
      '1h',
      '--id',
      'far-away',
      '--wait',
      '200ms',
      '--json',
    ]);
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({
      error: { code: 'E_RESULT_TIMEOUT', message: expect.stringContaining('far-away') as string },
    });
  });

  test('an id sent twice runs once', async () => {
    for (let time = 0; time < 2; time++)
      expect((await project.run(['send', 'math.add', '--args', '[1,2]', '--id', 'twice', '--wait', '10s'])).stdout).toBe('3\n');
    const runs = worker
      .stderr()
      .split('\n')
      .filter((line) => line.includes('"id":"twice"') && line.includes('task succeeded'));
    expect(runs).toHaveLength(1);
  });

  test('with --app it follows the routes of the app', async () => {
    await project.run(['send', 'reports.make', '--app', './tasks.ts']);
    const { stdout } = await project.run(['queues', 'list', 'slow', '--json']);
    expect(JSON.parse(stdout)).toMatchObject([{ queue: 'slow', ready: 1 }]);
  });
});

describe('send --file', () => {
  const good = Array.from({ length: 2_500 }, (_, index) =>
    JSON.stringify({ task: 'bulk', args: [index], kwargs: { big: 1 }, options: { queue: 'bulk', priority: index % 10 } }),
  );

  test('sends every line', async () => {
    project.write('good.jsonl', `${good.join('\n')}\n\n`);
    expect(await project.run(['send', '--file', 'good.jsonl', '--json'])).toMatchObject({
      code: 0,
      stdout: '{"tasks":2500,"sent":2500,"bad":0}\n',
    });
    expect(JSON.parse((await project.run(['queues', 'list', 'bulk', '--json'])).stdout)).toMatchObject([{ ready: 2_500 }]);
  });

  test('--from-line begins there', async () => {
    expect((await project.run(['send', '--file', 'good.jsonl', '--from-line', '2499'])).stdout).toBe('2 tasks sent\n');
    expect(await project.run(['purge', 'bulk', '--yes'])).toMatchObject({ code: 0, stdout: 'bulk: 2502 removed\n' });
  });

  test('reports every bad line with its number and sends nothing', async () => {
    const lines = [
      '{"task":"bulk","options":{"queue":"bulk"}}',
      'nonsense',
      '{"task":7}',
      '[]',
      '{"task":"a","args":{}}',
      '{"task":"a","kwargs":[]}',
      '{"task":"a","optoins":{}}',
      '{"task":"a","options":{"priority":12}}',
      '{"task":"a","options":{"eta":"tomorrow"}}',
      '{"task":"a","options":{"countdown":5}}',
      `{"task":"a","args":["${'x'.repeat(1_048_577)}"]}`,
      `{"task":"a","args":["${'x'.repeat(2_200_000)}"]}`,
    ];
    project.write('bad.jsonl', Buffer.concat([Buffer.from(`${lines.join('\n')}\n`), Buffer.from([0xff, 0xfe])]));
    const { code, stdout, stderr } = await project.run(['send', '--file', 'bad.jsonl', '--json']);
    expect(code).toBe(65);
    const answer = JSON.parse(stdout) as { problems: { line: number; code: string }[] };
    expect(answer).toMatchObject({ tasks: 13, sent: 0, bad: 12 });
    expect(answer.problems.map(({ line, code }) => [line, code])).toEqual([
      [2, 'E_DECODE'],
      [3, 'E_ARGUMENTS'],
      [4, 'E_ARGUMENTS'],
      [5, 'E_ARGUMENTS'],
      [6, 'E_ARGUMENTS'],
      [7, 'E_CONFIG_UNKNOWN_KEY'],
      [8, 'E_CONFIG_RANGE'],
      [9, 'E_ARGUMENTS'],
      [10, 'E_CONFIG_RANGE'],
      [11, 'E_MESSAGE_TOO_LARGE'],
      [12, 'E_MESSAGE_TOO_LARGE'],
      [13, 'E_DECODE'],
    ]);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'E_ARGUMENTS' } });
    const people = await project.run(['send', '--file', 'bad.jsonl']);
    expect(people.stderr).toContain('bad.jsonl:2: E_DECODE: ');
    expect(JSON.parse((await project.run(['queues', 'list', 'bulk', '--json'])).stdout)).toMatchObject([{ ready: 0 }]);
  });

  test('of many bad lines it shows twenty and counts all', async () => {
    project.write('many.jsonl', 'x\n'.repeat(1_000));
    const { stderr } = await project.run(['send', '--file', 'many.jsonl']);
    expect(stderr.match(/^many\.jsonl:/gm)).toHaveLength(20);
    expect(stderr).toContain('… and 980 more');
  });

  test('--dry-run checks and sends nothing', async () => {
    expect((await project.run(['send', '--file', 'good.jsonl', '--dry-run'])).stdout).toBe(
      '2500 tasks, all good; nothing was sent\n',
    );
    expect(JSON.parse((await project.run(['queues', 'list', 'bulk', '--json'])).stdout)).toMatchObject([{ ready: 0 }]);
  });
});

describe('queues', () => {
  test('peek shows what waits and leaves it there, and cannot be made to drive the terminal', async () => {
    await project.run(['send', 'first', '--args', '["\\u001b[31mred"]', '--queue', 'look', '--priority', '3']);
    await project.run(['send', 'second', '--kwargs', '{"n":9007199254740993}', '--queue', 'look', '--countdown', '1h']);
    const { stdout } = await project.run(['queues', 'peek', 'look']);
    expect(stdout).toMatch(/^# +ID +TASK +ARGUMENTS +NOT BEFORE\n/);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toMatch(/first .* now\n/);
    const json = JSON.parse((await project.run(['queues', 'peek', 'look', '--json'])).stdout) as unknown[];
    expect(json[0]).toMatchObject({ position: 1, task: 'first', args: ['\u001b[31mred'] });
    expect(json[1]).toMatchObject({ task: 'second', kwargs: { n: '9007199254740993' }, notBefore: expect.any(String) as string });
    expect((await project.run(['queues', 'list', 'look'])).stdout).toMatch(
      /^QUEUE +READY +DELAYED +HELD BY WORKERS +DEAD\nlook +1 +1 +0 +0\n$/,
    );
  });

  test('an empty queue says so on standard error', async () => {
    expect(await project.run(['queues', 'peek', 'nothing-here'])).toEqual({
      code: 0,
      stdout: '',
      stderr: 'nothing waits in queue nothing-here\n',
    });
  });

  test('backup copies the file while the worker uses it, and the copy can be read', async () => {
    expect(await project.run(['queues', 'backup', 'copy.db'])).toMatchObject({ code: 0, stdout: 'copied to copy.db\n' });
    expect(existsSync(join(project.folder, 'copy.db'))).toBe(true);
    const { stdout } = await project.run(['queues', 'peek', 'look', '--broker', 'file:./copy.db', '--json']);
    expect(JSON.parse(stdout)).toMatchObject([{ task: 'first' }, { task: 'second' }]);
  });

  test('purge removes ready and delayed messages', async () => {
    expect(JSON.parse((await project.run(['purge', 'look', '--yes', '--json'])).stdout)).toEqual({ removed: { look: 2 } });
  });
});

test('a reader that closes the pipe early is no error', async () => {
  const listing = project.start(['completion', 'bash']);
  listing.child.stdout?.destroy();
  expect((await listing.finished).code).toBe(0);
});

test('TERM ends the worker with 0, and its last line counts what it did', async () => {
  worker.child.kill('SIGTERM');
  const { code, stdout, stderr } = await worker.finished;
  expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
  expect(JSON.parse(stderr.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({ msg: 'worker stopped', handedBack: 0 });
  expect(readFileSync(join(project.folder, '.lovage/queue.db')).length).toBeGreaterThan(0);
});
