/** Tasks that replace themselves, on the brokers that need no server, and when a worker dies; the cases are in replace-cases.ts. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

test('a task whose worker was killed before it replaced itself does so at the next one', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-replacing-'));
  const ledger = join(folder, 'ledger');
  process.env.LOVAGE_TEST_BROKER = `file:${join(folder, 'queue.db')}`;
  process.env.LOVAGE_TEST_LEDGER = ledger;
  writeFileSync(`${ledger}.began-swap`, '');
  const tasks = (await import(/* @vite-ignore */ `${new URL('./process-app.ts', import.meta.url).href}?${folder}`)) as Fixture;
  const start = (): Promise<CliWorker> =>
    CliWorker.start(['--app', 'tests/canvas/process-app.ts', '--lease', '1s', '--threads', '1', '--events', 'off']);
  const first = await start();
  const handle = await tasks.swap.send(2);
  expect(await first.exit(20_000)).toBe('SIGKILL');
  const second = await start();
  // the store knows of a later epoch by then, and takes the result of the chain's end all the same
  expect(await handle.result({ timeout: '30s' })).toBe(10 + 2 * 100);
  await second.stop();
  expect(readFileSync(ledger, 'utf8').match(/swap/g)).toHaveLength(2);
  await tasks.app.close();
  rmSync(folder, { recursive: true, force: true });
});
