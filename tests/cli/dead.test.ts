/** `lovage dead` on the embedded broker: what a person does with messages that could not run. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Broker } from '../../src/brokers/broker.js';
import { fileBrokerForTests, openFileBroker } from '../../src/brokers/file/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { Collector, message } from '../../src/testing/conformance/broker-kit.js';
import { Project } from './run-cli.js';

interface Listed {
  readonly count: number;
  readonly bytes: number;
  readonly oldest: string | null;
  readonly queues: Record<string, number>;
  readonly codes: Record<string, number>;
  readonly letters: {
    readonly id: string;
    readonly task: string | null;
    readonly taskId: string | null;
    readonly queue: string;
  }[];
}

const project = new Project();
let broker: Broker;
const GARBAGE = Buffer.from([0x1b, 0x5b, 0x33, 0x31, 0x6d, 0xff, 0x00]);

async function dead(...args: string[]): Promise<Listed> {
  const { code, stdout, stderr } = await project.run(['dead', 'list', '--json', ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Listed;
}

/** Parks messages (or garbage) of a queue. */
async function park(queue: string, sent: readonly (string | Buffer)[], code = 'E_WORKER_LOST'): Promise<void> {
  for (const each of sent) {
    if (Buffer.isBuffer(each)) await fileBrokerForTests(broker).putRaw(queue, each);
    else await broker.publish([{ to: { queue }, message: message(each) }], { timeoutMs: 5_000 });
  }
  const collector = await Collector.open(broker, { [queue]: sent.length }, { name: 'suite@host' });
  await collector.got(sent.length);
  await collector.settle(
    ...collector.arrivals.map((arrival) => ({ kind: 'park', arrival, reason: { code, reason: 'because \u001b[31m' } }) as const),
  );
  await collector.consumer.close({ timeoutMs: 5_000 });
}

beforeAll(async () => {
  broker = await openFileBroker({
    url: `file:${join(project.folder, '.lovage/queue.db')}`,
    logger: silentLogger,
    role: 'engine',
  });
  await broker.connect({ timeoutMs: 5_000 });
  await park('slow', ['s1', 's2', 's3']);
  await park('odd', ['o1', GARBAGE], 'E_DECODE');
});

afterAll(async () => {
  await broker.close();
  project.remove();
});

describe('list', () => {
  test('shows a table, the newest first, and the sums beside it; control characters drive no terminal', async () => {
    const { code, stdout, stderr } = await project.run(['dead', 'list']);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^ID +AGE +QUEUE +CODE +TASK +TASK ID +REASON$/);
    expect(lines.slice(1).map((line) => line.split(/ +/).filter(Boolean)[2])).toEqual(['odd', 'odd', 'slow', 'slow', 'slow']);
    expect(lines[1]).toContain('(no message)');
    expect(stdout).not.toContain('\u001b');
    expect(stderr).toMatch(
      /^5 dead letters, [\d.]+ (bytes|KiB), the oldest \d+[sm] old\nE_WORKER_LOST 3, E_DECODE 2; in slow 3, odd 2\n$/,
    );
  });

  test('with --json everything is there once, the sums too', async () => {
    const all = await dead();
    expect(all).toMatchObject({ count: 5, queues: { slow: 3, odd: 2 }, codes: { E_WORKER_LOST: 3, E_DECODE: 2 } });
    expect(all.letters).toHaveLength(5);
    expect(all.letters[4]).toMatchObject({
      queue: 'slow',
      taskId: 's1',
      task: 'suite.task',
      parkedAt: expect.stringMatching(/^20.*Z$/) as string,
      history: { leasesLost: 0, parkedBy: 'suite@host', unknownSince: null },
    });
  });

  test.each([
    [['--queue', 'odd'], 2],
    [['--code', 'E_WORKER_LOST', '--queue', 'slow'], 3],
    [['--task', 'suite.task'], 4],
    [['--task', 'suite.other'], 0],
    [['--newer-than', '1h'], 5],
    [['--older-than', '1h'], 0],
  ])('%j finds %i', async (filter, count) => {
    const found = await dead(...filter);
    expect([found.count, found.letters.length]).toEqual([count, count]);
  });

  test('--limit cuts the table and says so, and not the sums', async () => {
    expect(await dead('--limit', '2')).toMatchObject({ count: 5, letters: [{ queue: 'odd' }, { queue: 'odd' }] });
    expect((await project.run(['dead', 'list', '--limit', '2'])).stderr).toContain('; the 2 newest (--limit shows more)');
  });

  test('nothing found is no error', async () => {
    expect(await project.run(['dead', 'list', '--queue', 'nowhere'])).toEqual({
      code: 0,
      stdout: '',
      stderr: 'no dead letters\n',
    });
  });

  test('lovage queues list counts them beside what waits', async () => {
    const { stdout, stderr } = await project.run(['queues', 'list']);
    expect(stdout).toMatch(/^QUEUE +READY +DELAYED +HELD BY WORKERS +DEAD\nodd +0 +0 +0 +2\nslow +0 +0 +0 +3\n$/);
    expect(stderr).toBe('5 dead letters in all: lovage dead list\n');
    const json = JSON.parse((await project.run(['queues', 'list', 'slow', '--json'])).stdout) as unknown;
    expect(json).toMatchObject([{ queue: 'slow', ready: 0, dead: 3 }]);
  });
});

describe('show', () => {
  test('tells all that is known of a message', async () => {
    const { letters } = await dead('--queue', 'slow');
    const id = letters.at(-1)?.id ?? '';
    const { stdout } = await project.run(['dead', 'show', id]);
    expect(stdout).toMatch(/^parked +20\S+Z by suite@host$/m);
    expect(stdout).toMatch(/^reason +because \\u001b\[31m$/m);
    expect(stdout).toMatch(/^args +\["s1"\]$/m);
    expect(stdout).not.toMatch(/^bytes /m);
    const json = JSON.parse((await project.run(['dead', 'show', id, '--json'])).stdout) as Record<string, unknown>;
    expect(json).toMatchObject({
      id,
      queue: 'slow',
      args: ['s1'],
      kwargs: {},
      headers: { id: 's1' },
      properties: { correlation_id: 's1' },
    });
    expect(Buffer.from(String(json['raw']), 'base64').toString()).toContain('suite.task');
  });

  test('shows the bytes of what is no message, and --raw writes them as they are', async () => {
    const { letters } = await dead('--queue', 'odd');
    const id = letters.find(({ task }) => task === null)?.id ?? '';
    const { stdout } = await project.run(['dead', 'show', id]);
    expect(stdout).toMatch(/^bytes +\\u001b\[31m/m);
    expect(stdout).toMatch(/^task +\(no message\)$/m);
    await project
      .run(['dead', 'show', id, '--json'])
      .then(({ stdout: json }) =>
        expect(JSON.parse(json)).toMatchObject({ headers: null, raw: GARBAGE.toString('base64'), size: GARBAGE.length }),
      );
    const raw = project.start(['dead', 'show', id, '--raw']);
    const chunks: Buffer[] = [];
    raw.child.stdout
      ?.setEncoding('latin1' as BufferEncoding)
      .on('data', (text: string) => chunks.push(Buffer.from(text, 'latin1')));
    expect((await raw.finished).code).toBe(0);
    expect(Buffer.concat(chunks).equals(GARBAGE)).toBe(true);
  });

  test('an id that is not there exits 65 and says where to look', async () => {
    const { code, stderr } = await project.run(['dead', 'show', '4711']);
    expect(code).toBe(65);
    expect(stderr).toMatch(/no dead letter 4711 .*lovage dead list[\s\S]*E_DEAD_LETTER_MISSING/);
  });
});

describe('replay', () => {
  test('--dry-run counts and touches nothing', async () => {
    const { code, stdout } = await project.run(['dead', 'replay', '--queue', 'slow', '--dry-run']);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^3 dead letters \(.*in slow 3\); dry run, nothing was replayed\n$/) as string,
    });
    expect((await dead()).count).toBe(5);
  });

  test('sends what was named back to its queue', async () => {
    const { letters } = await dead('--queue', 'slow');
    const [newest] = letters;
    expect(await project.run(['dead', 'replay', newest?.id ?? ''])).toEqual({
      code: 0,
      stdout: '1 dead letter replayed\n',
      stderr: '',
    });
    expect(JSON.parse((await project.run(['queues', 'list', 'slow', '--json'])).stdout)).toMatchObject([{ ready: 1, dead: 2 }]);
  });

  test('with a filter and --to, all that match go to another queue', async () => {
    const { code, stdout } = await project.run(['dead', 'replay', '--queue', 'slow', '--to', 'again', '--yes', '--json']);
    expect({ code, report: JSON.parse(stdout) as unknown }).toEqual({
      code: 0,
      report: { replayed: 2, missing: [], refused: [], refusedCount: 0 },
    });
    expect(JSON.parse((await project.run(['queues', 'list', 'again', '--json'])).stdout)).toMatchObject([{ ready: 2 }]);
  });

  test('what is no message stays, and the exit code says why', async () => {
    const { code, stdout, stderr } = await project.run(['dead', 'replay', '--queue', 'odd', '--yes']);
    expect({ code, stdout }).toEqual({ code: 65, stdout: '1 dead letter replayed\n' });
    expect(stderr).toMatch(/1 dead letter could not be replayed and stayed: .*is no message[\s\S]*E_DECODE/);
    expect(await dead()).toMatchObject({ count: 1, letters: [{ queue: 'odd', task: null }] });
  });

  test('an id that is not there is named, and exits 65', async () => {
    const { code, stdout, stderr } = await project.run(['dead', 'replay', '4711', '4712', '--json']);
    expect(code).toBe(65);
    expect(JSON.parse(stdout)).toMatchObject({ replayed: 0, missing: ['4711', '4712'] });
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'E_DEAD_LETTER_MISSING' } });
  });
});

describe('purge', () => {
  test('removes what matches, and only that', async () => {
    expect(await project.run(['dead', 'purge', '--older-than', '30d', '--yes'])).toMatchObject({
      code: 0,
      stdout: '0 dead letters removed\n',
    });
    expect(JSON.parse((await project.run(['dead', 'purge', '--all', '--dry-run', '--json'])).stdout)).toMatchObject({
      count: 1,
      removed: 0,
    });
    expect((await dead()).count).toBe(1);
    expect(JSON.parse((await project.run(['dead', 'purge', '--all', '--yes', '--json'])).stdout)).toMatchObject({ removed: 1 });
    expect((await dead()).count).toBe(0);
  });
});

test('a task that was parked runs after its replay, and its result replaces the FAILURE of the parking', async () => {
  project.write('old.ts', "import { createApp } from 'lovage';\nexport const app = createApp();\n");
  project.write(
    'new.ts',
    "import { createApp } from 'lovage';\nexport const app = createApp();\nexport const add = app.fn('math.add', (x: number, y: number) => x + y, { params: ['x', 'y'] });\n",
  );
  await project.run(['send', 'math.add', '--args', '[40,2]', '--id', 'early']);
  const old = project.start(['worker', '--app', './old.ts', '--pool', 'inline', '--unknown-task-patience', '1s']);
  await old.until('message parked');
  const failed = await project.run(['result', 'early', '--wait', '10s', '--json']);
  expect({ code: failed.code, stderr: failed.stderr }).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('NotRegistered') as string,
  });
  old.child.kill('SIGTERM');
  await old.finished;

  const fresh = project.start(['worker', '--app', './new.ts', '--pool', 'inline']);
  await fresh.until('worker ready');
  expect(await project.run(['dead', 'replay', '--task', 'math.add', '--yes'])).toMatchObject({
    code: 0,
    stdout: '1 dead letter replayed\n',
  });
  expect(await project.run(['result', 'early', '--wait', '10s'])).toMatchObject({ code: 0, stdout: '42\n' });
  fresh.child.kill('SIGTERM');
  expect((await fresh.finished).code).toBe(0);
});
