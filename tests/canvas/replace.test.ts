/** Tasks that replace themselves, on the brokers that need no server, and when a worker dies; the cases are in replace-cases.ts. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain } from 'lovage';
import { expect, test } from 'vitest';
import { CliWorker } from '../worker/cli-worker.js';
import { replaceSuite } from './replace-cases.js';

type Fixture = typeof import('./process-app.js');

replaceSuite('memory', async () => ({ brokerUrl: 'memory:replacing', resultUrl: 'memory:replacing', close: async () => {} }));
replaceSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-replacing-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});

/** On a file in a folder of its own; `orders` are moments at which a worker dies, see process-app.ts. */
async function withKills(orders: readonly string[], play: (tasks: Fixture, start: () => Promise<CliWorker>) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-replacing-'));
  const ledger = join(folder, 'ledger');
  process.env.LOVAGE_TEST_BROKER = `file:${join(folder, 'queue.db')}`;
  process.env.LOVAGE_TEST_LEDGER = ledger;
  for (const order of orders) writeFileSync(`${ledger}.${order}`, '');
  const tasks = (await import(/* @vite-ignore */ `${new URL('./process-app.ts', import.meta.url).href}?${folder}`)) as Fixture;
  const workers: CliWorker[] = [];
  try {
    await play(tasks, async () => {
      const args = ['--app', 'tests/canvas/process-app.ts', '--lease', '1s', '--threads', '1', '--events', 'off'];
      const worker = await CliWorker.start(args);
      workers.push(worker);
      return worker;
    });
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()));
    await tasks.app.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

test('a task whose worker was killed before it replaced itself does so at the next one', { timeout: 60_000 }, async () => {
  await withKills(['began-swap'], async (tasks, start) => {
    const first = await start();
    const handle = await tasks.swap.send(2);
    expect(await first.exit(20_000)).toBe('SIGKILL');
    await start();
    // the store knows of a later epoch by then, and takes the result of the chain's end all the same
    expect(await handle.result({ timeout: '30s' })).toBe(10 + 2 * 100);
  });
});

test('what takes the place of a task is sent though both the step before it and its own first step were repeated', {
  timeout: 60_000,
}, async () => {
  await withKills(['ended-3', 'ended-1'], async (tasks, start) => {
    const first = await start();
    // both the task and the end of its chain follow a repeated step, under one id
    const handle = await chain(tasks.step.si(0, 3), tasks.swap.si(2)).send();
    expect(await first.exit(20_000)).toBe('SIGKILL');
    expect(await (await start()).exit(20_000)).toBe('SIGKILL');
    await start();
    expect(await handle.result({ timeout: '30s' })).toBe(10 + 2 * 100);
  });
});
