/** `lovage events` and `lovage top` on a file broker, as people run them. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Project, type RunningCli } from './run-cli.js';

const project = new Project();
const env = { LOVAGE_BROKER_URL: 'file:./queue.db', LOVAGE_APP: './tasks.ts' };
const running: RunningCli[] = [];
let worker: RunningCli;

beforeAll(async () => {
  project.write(
    'tasks.ts',
    `import { createApp } from 'lovage';
export const app = createApp();
app.fn('math.add', (x: number, y: number) => x + y);
app.fn('math.fail', (): number => {
  throw new RangeError('no ☃');
});
app.fn('math.slow', async (ms: number) => {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return ms;
});
`,
  );
  worker = project.start(['worker', '--name', 'w1@here', '--grace', '100ms'], env);
  await worker.until('worker ready');
});
afterEach(async () => {
  for (const each of running.splice(0)) {
    each.child.kill('SIGTERM');
    await each.finished;
  }
});
afterAll(async () => {
  worker.child.kill('SIGTERM');
  await worker.finished;
  project.remove();
});

const listen = async (...args: string[]): Promise<RunningCli> => {
  const events = project.start(['events', ...args], env);
  running.push(events);
  await events.until('listening');
  return events;
};
const send = async (task: string, ...args: unknown[]): Promise<string> => {
  const { code, stdout, stderr } = await project.run(['send', task, '--args', JSON.stringify(args)], env);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.trim();
};

describe('lovage events', () => {
  test('prints a line an event, finds a task by its name, and ends after so many', async () => {
    const events = await listen('--task', 'math.add', '--limit', '3');
    await send('math.fail');
    const id = await send('math.add', 2, 3);
    const { code, stdout } = await events.finished;
    const lines = stdout.trimEnd().split('\n');
    expect({ code, types: lines.map((line) => line.split(/ {2,}/)[1]) }).toEqual({
      code: 0,
      types: ['task-received', 'task-started', 'task-succeeded'],
    });
    for (const line of lines) expect(line).toContain(`w1@here  math.add  ${id}`);
    expect(lines[0]).toContain('args=(2, 3) kwargs={}');
    expect(lines[2]).toContain('result=5');
  });

  test('gives JSON with all fields, of the types asked for, and ends well with TERM', async () => {
    const events = project.start(['events', '--type', 'task-failed,worker-offline', '--json'], env);
    running.push(events);
    let heard = '';
    events.child.stdout?.on('data', (text: string) => {
      heard += text;
    });
    // It says nothing when it listens: the task is sent until it is heard of.
    const ids: string[] = [];
    while (heard === '') ids.push(await send('math.fail'));
    events.child.kill('SIGTERM');
    const { code, stdout, stderr } = await events.finished;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const [first] = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(first).toMatchObject({ type: 'task-failed', hostname: 'w1@here', exception: "RangeError('no ☃')" });
    expect(ids).toContain(first?.uuid);
    expect(first?.traceback).toContain('tasks.ts');
  });

  test.each([
    [['--type', 'failed'], 'It must be event types'],
    [['--type', 'task-failed,'], 'It must be event types'],
    [['--limit', '0'], 'whole number from 1'],
    [['--for', '5'], 'number with its unit'],
  ])('%j is refused as wrong usage', async (args, message) => {
    const { code, stdout, stderr } = await project.run(['events', ...args], env);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
  });

  test('a broker that cannot be reached ends it with 69', async () => {
    const { code, stderr } = await project.run(['events', '--broker', 'redis://127.0.0.1:1/0', '--timeout', '300ms', '--json']);
    expect(code).toBe(69);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'E_BROKER_UNREACHABLE' } });
  });
});

describe('lovage top', () => {
  test('without a terminal shows one picture: workers, what has run long already, queues', async () => {
    const slow = await send('math.slow', 120_000);
    const top = project.start(['top', '--for', '2s'], env);
    running.push(top);
    const { code, stdout, stderr } = await top.finished;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^workers 1 of 1 alive {3}running 1 /);
    expect(stdout).toMatch(/w1@here +alive +1 /);
    // It had begun before anybody listened: the worker was asked.
    expect(stdout).toMatch(new RegExp(`math\\.slow +w1@here +${slow}`));
    expect(stdout).toMatch(/\n +lovage +0 +0 +1\n/);
    expect(stdout).not.toContain('\u001b');
  });

  test('gives the same as JSON', async () => {
    const top = project.start(['top', '--json', '--for', '3s', '--queues', 'lovage,other'], env);
    running.push(top);
    const { code, stdout } = await top.finished;
    const seen = JSON.parse(stdout) as { workers: unknown[]; queues: unknown[]; running: unknown[]; rates: unknown };
    expect(code).toBe(0);
    expect(seen).toMatchObject({
      workers: [{ name: 'w1@here', alive: true, software: expect.stringContaining('lovage') }],
      queues: [
        { queue: 'lovage', ready: 0 },
        { queue: 'other', ready: 0, oldestMs: null },
      ],
      running: [{ name: 'math.slow', worker: 'w1@here', args: '(120000,)' }],
      droppedEvents: 0,
    });
  });

  test('says how long the next message has waited at least', async () => {
    expect((await project.run(['send', 'math.add', '--args', '[1,1]', '--queue', 'nobody'], env)).code).toBe(0);
    const { stdout } = await project.run(['top', '--json', '--for', '1500ms', '--queues', 'nobody'], env);
    const [queue] = (JSON.parse(stdout) as { queues: { ready: number; oldestMs: number }[] }).queues;
    expect(queue?.ready).toBe(1);
    expect(queue?.oldestMs).toBeGreaterThanOrEqual(1_400);
  });
});
