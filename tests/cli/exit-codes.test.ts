/**
 * Each way in which a worker ends: its exit code, and a last log line with cause and remedy, because a supervisor keeps nothing else.
 * 0 means that it was asked to stop and handed back what it had; nothing that happens by itself ends in 0.
 */
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Finished, Project, type RunningCli } from './run-cli.js';

const APP = `
import { execSync } from 'node:child_process';
import { createApp, taskContext } from 'lovage';
// A command that runs for as long as its process lives: one left behind by a worker that ended in 70 would outlive the test.
const COMMAND = 'while kill -0 $PPID 2>/dev/null; do sleep 0.2; done';
export const app = createApp({ broker: 'file:./queue.db' });
app.fn('add', (x, y) => x + y, { params: ['x', 'y'] });
const began = () => taskContext().log.info({}, 'began');
app.fn('hold', () => { began(); return new Promise(() => {}); });
app.fn('slow', async () => { began(); await new Promise((done) => setTimeout(done, 1_000)); });
app.fn('throwLater', () => { began(); setTimeout(() => { throw new RangeError('from a timer'); }, 50); return new Promise(() => {}); });
app.fn('rejectLater', () => { began(); void Promise.reject(new RangeError('nobody waits')); return new Promise(() => {}); });
app.fn('exit', () => process.exit(0));
app.fn('block', () => { began(); execSync(COMMAND); }, { timeLimit: '500ms' });
`;

let project: Project;
beforeEach(() => {
  project = new Project();
  project.write('tasks.mjs', APP);
});
afterEach(() => project.remove());

function start(...args: string[]): RunningCli {
  return project.start(['worker', '--app', './tasks.mjs', '--log-format', 'json', ...args]);
}

async function send(task: string): Promise<string> {
  const { stdout, stderr } = await project.run(['send', task, '--app', './tasks.mjs']);
  expect(stderr).toBe('');
  return stdout.trim();
}

function lastLine({ stderr }: Finished): Record<string, unknown> {
  return JSON.parse(stderr.trimEnd().split('\n').at(-1) ?? '') as Record<string, unknown>;
}

/** Code, cause and remedy, in the last line. */
function expectEnd(finished: Finished, exitCode: number, says: RegExp): void {
  expect(lastLine(finished)).toMatchObject({ level: 50, exitCode, msg: expect.stringMatching(says) });
  expect(lastLine(finished)['remedy']).toMatch(/\w+ \w+/);
  expect(finished.code).toBe(exitCode);
}

describe('asked to stop', () => {
  test('0 when nothing was left, with the totals in the last line', async () => {
    const worker = start();
    await worker.until('worker ready');
    worker.child.kill('SIGTERM');
    const finished = await worker.finished;
    expect(lastLine(finished)).toMatchObject({ msg: 'worker stopped', handedBack: 0, handBackFailed: false });
    expect(finished.code).toBe(0);
  });

  test('0 at the deadline, with unfinished work handed back and counted', async () => {
    const worker = start('--grace', '200ms', '--lease', '60s');
    await worker.until('worker ready');
    await send('hold');
    await worker.until('began');
    worker.child.kill('SIGINT');
    const finished = await worker.finished;
    expect(lastLine(finished)).toMatchObject({ msg: 'worker stopped', handedBack: 1, handBackFailed: false });
    expect(finished.code).toBe(0);
  });

  test('0 while it still looks for its broker', async () => {
    const worker = start('--broker', 'redis://127.0.0.1:1/0');
    await worker.until('trying again');
    worker.child.kill('SIGTERM');
    expect((await worker.finished).code).toBe(0);
  });
});

describe('it cannot start', () => {
  test('2 for wrong flags, with what to do', async () => {
    const finished = await project.run(['worker', '--app', './tasks.mjs', '--health-prot', '1']);
    expect(finished.stderr).toMatch(/unknown option '--health-prot'\n\(Did you mean --health-port\?\)/);
    expect(finished.code).toBe(2);
    const noPort = await project.run(['worker', '--app', './tasks.mjs', '--health-host', '0.0.0.0']);
    expect(noPort.stderr).toContain('add --health-port');
    expect(noPort.code).toBe(2);
  });

  test.each(['threads', 'async', 'inline'])('65 for an app file that throws while it loads (pool %s)', async (pool) => {
    project.write('tasks.mjs', "throw new TypeError('no database here');");
    expectEnd(await start('--pool', pool).finished, 65, /threw while it was loaded: TypeError: no database here/);
  });

  test('65 for an app file with a syntax error', async () => {
    project.write('tasks.mjs', 'export const app = ;');
    expectEnd(await start().finished, 65, /could not be loaded/);
  });

  test('69 when the broker does not answer within --connect-tries', async () => {
    expectEnd(await start('--broker', 'redis://127.0.0.1:1/0', '--connect-tries', '1').finished, 69, /redis:\/\/127\.0\.0\.1:1/);
  });

  test('78 for a wrong option, with its name', async () => {
    expectEnd(await start('--lease', '1ms').finished, 78, /lease is 1ms/);
  });

  test.each(['threads', 'async', 'inline'])('78 when the health port is taken (pool %s)', async (pool) => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', () => resolve()));
    const { port } = other.address() as { port: number };
    try {
      expectEnd(
        await start('--pool', pool, '--health-port', String(port)).finished,
        78,
        new RegExp(`cannot listen on .*:${port}`),
      );
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });

  test('78 when the heartbeat file cannot be written', async () => {
    expectEnd(await start('--heartbeat-file', './no/such/folder/beat').finished, 78, /no\/such\/folder\/beat cannot be written/);
  });

  test('1, never 0, when the app file calls process.exit(0)', async () => {
    project.write('tasks.mjs', 'process.exit(0);');
    expectEnd(await start('--pool', 'async').finished, 1, /process\.exit\(0\) was called/);
    expectEnd(await start('--pool', 'threads').finished, 1, /an executor died before it was ready/);
  });
});

describe('something ends it while it runs', () => {
  test.each([
    ['throwLater', /an exception that nobody caught .*RangeError: from a timer/],
    ['rejectLater', /a rejection that nobody caught .*RangeError: nobody waits/],
  ])('1 for what nobody catches in pool async (%s), after giving back what it had', async (task, says) => {
    const worker = start('--pool', 'async', '--lease', '60s', '--grace', '20s');
    await worker.until('worker ready');
    await send('slow');
    await worker.until('began');
    await send(task);
    const finished = await worker.finished;
    expectEnd(finished, 1, says);
    expect(finished.stderr).toContain('"type":"RangeError"');
    // Both start again at once, not when the lease of a minute is over. And the loss counts, so that the task which breaks one
    // worker after the other is parked, while its neighbour runs to its end.
    const codes: (number | null)[] = [];
    let log = '';
    while (codes.length < 5 && codes.at(-1) !== 0) {
      const next = start('--pool', 'async', '--lease', '60s');
      const bothDone = next
        .until('"code":"E_WORKER_LOST"')
        .then(() => (log.includes('task succeeded') ? undefined : next.until('task succeeded')))
        .then(() => next.child.kill('SIGTERM'));
      codes.push((await next.finished).code);
      await bothDone.catch(() => {});
      log += next.stderr();
    }
    expect(codes).toEqual([1, 1, 0]);
    expect(log.match(/"task":"slow".*"msg":"task succeeded"/g)).toHaveLength(1);
  });

  test('1, never 0, when a task in pool async calls process.exit(0)', async () => {
    const worker = start('--pool', 'async');
    await worker.until('worker ready');
    await send('exit');
    expectEnd(await worker.finished, 1, /process\.exit\(0\) was called/);
  });

  test.each(['threads', 'async'])('70 when a task blocks in a native call past its hard limit (pool %s)', async (pool) => {
    const worker = start('--pool', pool);
    await worker.until('worker ready');
    await send('block');
    expectEnd(await worker.finished, 70, /native call/);
  });
});
