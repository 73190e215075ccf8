/** `lovage graph` on the embedded broker: workflows that ended, that run, and that nobody knows. */
import { join } from 'node:path';
import { chain, createApp, group } from 'lovage';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Project } from './run-cli.js';

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const SOON = { timeout: '20s' } as const;
const LONG = { timeout: 60_000 } as const;

const project = new Project();
const url = `file:${join(project.folder, 'queue.db')}`;
const app = createApp({ broker: url, logger: silent, defaultQueue: 'garden' });
const open = app.fn('open', (book: string) => book);
const words = app.fn('words', (text: string) => text.length);
const sum = app.fn('sum', (numbers: readonly number[]) => numbers.length);
const never = app.fn('never', (value: number) => value);
let worker: Awaited<ReturnType<typeof app.worker>>;

beforeAll(async () => {
  worker = await app.worker({ pool: 'inline', queues: ['garden'], logger: silent });
});
afterAll(async () => {
  await worker?.close();
  await app.close();
  await project.remove();
});

const graph = (...args: string[]) => project.run(['graph', ...args, '--broker', url]);

test('shows a workflow that runs: what has ended, and what still waits', LONG, async () => {
  const waiting = never.with({ queue: 'nobody' }).s();
  const handle = await chain(open.si('lovage'), group(words.s(), words.s()), sum.s(), waiting).send();
  await handle.save();
  await (await handle.parent())?.result(SOON);
  const { code, stdout, stderr } = await graph(handle.id);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const lines = stdout.trimEnd().split('\n');
  expect(
    lines.map((line) =>
      line
        .split(/ {2,}/)
        .filter((cell) => cell !== '')
        .slice(0, 2)
        .join(' '),
    ),
  ).toEqual([
    'TASK STATE',
    'open SUCCESS',
    expect.stringMatching(/^group of 2/),
    'words SUCCESS',
    'words SUCCESS',
    'sum SUCCESS',
    `never PENDING`,
  ]);
  expect(lines[3]).toMatch(/^ {2}words/);
  expect(lines[6]).toContain(handle.id);
});

test('gives the same as JSON and as Mermaid, up to a limit', LONG, async () => {
  const handle = await chain(open.si('lovage'), group(words.s(), words.s())).send();
  await handle.result(SOON);
  const [member] = handle.children;
  const json = JSON.parse((await graph(member.id, '--json')).stdout) as {
    nodes: { state: string }[];
    edges: unknown[];
    more: number;
  };
  expect([json.nodes.length, json.edges.length, json.more]).toEqual([4, 3, 0]);
  const { stdout } = await graph(member.id, '--mermaid');
  expect(stdout).toMatch(/^flowchart TD\n/);
  expect(stdout.match(/SUCCESS"\]|ms"\]/g)).toHaveLength(3);
  expect((await graph(member.id, '--limit', '2')).stdout.trimEnd().split('\n').at(-1)).toMatch(/^and \d more$/);
});

test('says when nothing is known of an id', LONG, async () => {
  const { code, stdout, stderr } = await graph('nobody');
  expect([code, stdout]).toEqual([0, expect.stringContaining('PENDING')]);
  expect(stderr).toContain('Nothing is stored about this id');
});

test(
  'refuses wrong usage with 2, a limit without sense with 78, a store that only senders read with 1, an unknown server with 69',
  LONG,
  async () => {
    for (const args of [[], [''], ['a', '--limit', 'x'], ['a', '--mermaid', '--json']])
      expect(await graph(...args), args.join(' ')).toMatchObject({ code: 2 });
    expect(await graph('a', '--limit', '1000000')).toMatchObject({ code: 78, stderr: expect.stringContaining('E_CONFIG_RANGE') });
    const rpc = await project.run(['graph', 'a', '--broker', 'amqp://127.0.0.1:1', '--results', 'rpc:']);
    expect(rpc.stderr).toContain('E_NOT_SUPPORTED');
    const gone = await project.run(['graph', 'a', '--broker', 'redis://127.0.0.1:1/0', '--timeout', '1s']);
    expect(gone).toMatchObject({ code: 69 });
  },
);
