/** `lovage inspect`, `lovage control` and pauses on the embedded broker, as a person uses them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Project, type RunningCli } from './run-cli.js';

const APP = `
import { createApp } from 'lovage';
export const app = createApp({ defaultQueue: 'fast' });
export const add = app.fn('math.add', (x: number, y: number) => x + y, { params: ['x', 'y'] });
export const hold = app.fn('suite.hold', () => new Promise(() => {}));
app.controlCommand('suite_double', ({ value }) => ({ doubled: Number(value) * 2 }));
`;

const project = new Project();
const workers: RunningCli[] = [];

async function start(name: string): Promise<void> {
  const args = ['worker', '--app', './tasks.ts', '--name', name, '--queues', 'fast,slow', '--pool', 'inline', '--grace', '1s'];
  const worker = project.start(args);
  workers.push(worker);
  await worker.until('worker ready');
}

/** What the command prints as JSON, having gone well. */
async function json(...args: string[]): Promise<unknown> {
  const { code, stdout, stderr } = await project.run([...args, '--json']);
  expect({ code, stderr, args }).toEqual({ code: 0, stderr: '', args });
  return JSON.parse(stdout);
}

beforeAll(async () => {
  project.write('tasks.ts', APP);
  await start('one@suite');
  await start('two@suite');
});
afterAll(() => project.remove());

describe('lovage inspect', () => {
  test('shows who answered in a table, by name', async () => {
    const { code, stdout, stderr } = await project.run(['inspect', 'ping', '--timeout', '20s']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe('NODE       ANSWER\none@suite  pong\ntwo@suite  pong\n');
  });

  test('with --json answers are an object by node, as celery --json prints them', async () => {
    expect(await json('inspect', 'ping')).toEqual({ 'one@suite': { ok: 'pong' }, 'two@suite': { ok: 'pong' } });
    const names = ['math.add', 'suite.hold'];
    expect(await json('inspect', 'registered', '-d', 'two@suite')).toEqual({ 'two@suite': names });
  });

  test('names with hyphens are those with underscores', async () => {
    const queues = await json('inspect', 'active-queues', '--pattern', 'one*');
    expect(queues).toMatchObject({ 'one@suite': [{ name: 'fast' }, { name: 'slow' }] });
    expect((await project.run(['inspect', 'active_queues'])).stdout).toMatch(
      /^NODE +QUEUE +EXCHANGE +ROUTING KEY\none@suite +fast /,
    );
  });

  test('shows what runs, with its arguments and for how long', async () => {
    await project.run(['send', 'suite.hold', '--id', 'held', '--queue', 'fast']);
    for (;;) {
      const { stdout } = await project.run(['inspect', 'active']);
      if (stdout.includes('held')) {
        expect(stdout).toMatch(/^NODE +ID +TASK +ARGUMENTS +FOR\n/);
        expect(stdout).toMatch(/^(one|two)@suite +held +suite\.hold +[\d.]+(ms|s)$/m);
        break;
      }
    }
    const found = (await json('inspect', 'query-task', 'held', 'nobody')) as Record<string, Record<string, [string]>>;
    expect(Object.values(found).flatMap((of) => Object.keys(of))).toEqual(['held']);
    expect(await json('queues', 'find', 'held')).toMatchObject({ waiting: [], held: [{ id: 'held', state: 'active' }] });
  });

  test('larger answers are shown as blocks', async () => {
    const { stdout } = await project.run(['inspect', 'stats', '--destination', 'one@suite']);
    expect(stdout).toMatch(/^one@suite:\n {2}\{\n {4}"/);
    expect(stdout).toMatch(/^ {4}"pid": \d+,$/m);
  });

  test('commands of the app are called by name', async () => {
    expect(await json('inspect', 'call', 'suite_double', '--args', '{"value":21}', '-d', 'one@suite')).toEqual({
      'one@suite': { doubled: 42 },
    });
    expect(await json('inspect', 'call', 'no_such_thing', '-d', 'one@suite')).toEqual({
      'one@suite': { error: "KeyError('no_such_thing')" },
    });
  });

  test('nobody answering ends with 69, and says whom was asked', async () => {
    const { code, stdout, stderr } = await project.run(['inspect', 'ping', '-d', 'nobody@suite', '--timeout', '300ms']);
    expect({ code, stdout }).toEqual({ code: 69, stdout: '' });
    expect(stderr).toMatch(/no worker answered within 300ms: asked were nobody@suite, and 2 listen\n.*E_WORKER_UNREACHABLE/);
  });

  test('wrong usage ends with 2 and says what there is', async () => {
    const { code, stderr } = await project.run(['inspect', 'actve']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/did you mean active\?/);
    expect(await project.run(['inspect', 'query_task'])).toMatchObject({ code: 2 });
    expect(await project.run(['control', 'pool_grow', 'many'])).toMatchObject({ code: 2 });
  });
});

describe('lovage control', () => {
  test('changes limits of tasks, and says what workers refused', async () => {
    const ok = { ok: 'new rate limit set successfully' };
    expect(await json('control', 'rate_limit', 'math.add', '100/m')).toEqual({ 'one@suite': ok, 'two@suite': ok });
    expect((await project.run(['control', 'time-limit', 'math.add', '25s', '30', '-d', 'one@suite'])).stdout).toBe(
      'NODE       ANSWER\none@suite  time limits set successfully\n',
    );
    const { code, stdout } = await project.run(['control', 'rate_limit', 'no.such', '1/s', '-d', 'one@suite']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'one@suite: unknown task\n' });
  });

  test('adds and cancels a queue', async () => {
    await json('control', 'add_consumer', 'more', '-d', 'one@suite');
    await project.run(['send', 'math.add', '--args', '[2,3]', '--queue', 'more', '--id', 'added']);
    expect(await project.run(['result', 'added', '--wait', '20s'])).toMatchObject({ code: 0, stdout: '5\n' });
    expect(await json('control', 'cancel_consumer', 'more', '-d', 'one@suite')).toEqual({
      'one@suite': { ok: 'no longer consuming from more' },
    });
  });

  test('does not stop anything without being asked to', async () => {
    const { code, stderr } = await project.run(['control', 'shutdown']);
    expect(code).toBe(2);
    expect(stderr).toContain('--yes');
    expect(Object.keys((await json('inspect', 'ping')) as object)).toHaveLength(2);
  });
});

describe('pauses', () => {
  test('a paused queue is left by all workers at once, is shown as paused, and is consumed again after resuming', async () => {
    const { code, stdout, stderr } = await project.run(['queues', 'pause', 'slow']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /^paused: slow\nNODE +PAUSED QUEUES +PAUSED TASKS\n(one|two)@suite +slow +-\n(one|two)@suite +slow +-\n$/,
    );
    expect((await project.run(['queues', 'pause', 'slow'])).stdout).toMatch(/^already paused: slow\n/);
    await project.run(['send', 'math.add', '--args', '[20,22]', '--queue', 'slow', '--id', 'waits']);
    expect((await project.run(['queues', 'list', 'slow'])).stdout).toMatch(/^slow \(paused\) +1 +0 +0 +0$/m);
    expect(await json('queues', 'list', 'slow')).toMatchObject([{ queue: 'slow', ready: 1, paused: true }]);
    expect(await json('queues', 'paused')).toMatchObject([{ kind: 'queue', name: 'slow' }]);
    expect(await json('queues', 'resume', 'slow')).toMatchObject({ resumed: ['slow'], unaware: [] });
    expect(await project.run(['result', 'waits', '--wait', '20s'])).toMatchObject({ code: 0, stdout: '42\n' });
    expect((await project.run(['queues', 'paused'])).stderr).toBe('nothing is paused\n');
  });

  test('a paused task waits while others run, and goes on after resuming', async () => {
    expect(await json('control', 'pause-task', 'math.add')).toMatchObject({ paused: ['math.add'] });
    await project.run(['send', 'math.add', '--args', '[1,1]', '--queue', 'fast', '--id', 'later']);
    expect((await project.run(['queues', 'paused'])).stdout).toMatch(/^PAUSED +NAME +SINCE\ntask +math\.add +20\S+Z\n$/);
    await json('control', 'resume_task', 'math.add');
    expect(await project.run(['result', 'later', '--wait', '40s'])).toMatchObject({ code: 0, stdout: '2\n' });
  }, 90_000);
});

test('lovage control shutdown stops the named worker, which hands back what it holds', async () => {
  expect(await project.run(['control', 'shutdown', '--yes', '-d', 'two@suite'])).toMatchObject({
    code: 0,
    stdout: 'heard by 2 workers\n',
  });
  expect((await workers[1]?.finished)?.code).toBe(0);
  expect(Object.keys((await json('inspect', 'ping')) as object)).toEqual(['one@suite']);
}, 60_000);
