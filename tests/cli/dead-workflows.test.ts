/** `lovage dead replay` of a step of a workflow: what stood behind it goes on when it succeeds. */
import { join } from 'node:path';
import { chain, createApp, group } from 'lovage';
import { afterAll, expect, test } from 'vitest';
import { Project } from './run-cli.js';

const silent = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent };
const SOON = { timeout: '20s' } as const;

const project = new Project();
afterAll(() => project.remove());

test('the steps behind a parked step are PENDING again, and run after it', { timeout: 90_000 }, async () => {
  const broker = `file:${join(project.folder, 'queue.db')}`;
  const before = createApp({ broker, logger: silent, defaultQueue: 'garden' });
  const late = before.remote<[x: number], number>('late', { queue: 'garden' });
  const double = before.fn('double', (x: number) => x * 2);
  const sum = before.fn('sum', (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0));
  const first = await before.worker({ pool: 'inline', queues: ['garden'], unknownTaskPatience: '1ms', logger: silent });
  const handle = await chain(late.si(5), double.s(), group(double.s(), double.s()), sum.s()).send();
  await expect(handle.result(SOON)).rejects.toMatchObject({ code: 'E_TASK_FAILED' });
  const header = await handle.parent();
  await expect(header?.result(SOON)).rejects.toMatchObject({ code: 'E_TASK_FAILED' });
  await first.close();

  expect(await project.run(['dead', 'replay', '--all', '--yes', '--broker', broker])).toMatchObject({ code: 0 });
  expect(await handle.state()).toBe('PENDING');

  const after = createApp({ broker, logger: silent, defaultQueue: 'garden' });
  after.fn('late', (x: number) => x + 1);
  after.fn('double', (x: number) => x * 2);
  after.fn('sum', (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0));
  const second = await after.worker({ pool: 'inline', queues: ['garden'], logger: silent });
  expect(await handle.result(SOON)).toBe(48);
  await second.close();
  await Promise.all([before.close(), after.close()]);
});
