/**
 * A chain whose worker is killed with -9 on the way: as one of its steps begins, when the step before it may still be unsettled, or
 * as one ends, when nothing of it is known outside.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain } from 'lovage';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CliWorker } from '../worker/cli-worker.js';
import { until } from '../worker/harness.js';

type Fixture = typeof import('./process-app.js');

const APP = 'tests/canvas/process-app.ts';

let folder: string;
let ledger: string;
let tasks: Fixture;
let workers: CliWorker[];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lovage-chain-process-'));
  ledger = join(folder, 'ledger');
  process.env.LOVAGE_TEST_BROKER = `file:${join(folder, 'queue.db')}`;
  process.env.LOVAGE_TEST_LEDGER = ledger;
  tasks = (await import(/* @vite-ignore */ `${new URL('./process-app.ts', import.meta.url).href}?${folder}`)) as Fixture;
  workers = [];
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  await tasks.app.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<CliWorker> {
  const worker = await CliWorker.start(['--app', APP, '--lease', '1s', '--threads', '1', '--events', 'off']);
  workers.push(worker);
  return worker;
}

const noted = (): string[][] => {
  const lines = readFileSync(ledger, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => line.split(' '));
};

test.each(['began-1', 'began-2', 'began-3', 'began-4', 'ended-1', 'ended-3', 'ended-4'])(
  'a chain ends with the right result when its worker is killed at %s',
  { timeout: 60_000 },
  async (moment) => {
    writeFileSync(`${ledger}.${moment}`, '');
    const { step, last } = tasks;
    const first = await start();
    const handle = await chain(step.si(1, 1), step.s(2), step.s(3), step.s(4)).link(last.s()).send();
    expect(await first.exit(20_000)).toBe('SIGKILL');
    const second = await start();
    expect(await handle.result({ timeout: '30s' })).toBe(43_211);
    const settled = await handle.status();
    expect(settled).toMatchObject({ state: 'SUCCESS', result: 43_211 });
    await until(() => noted().some(([what]) => what === 'last'), 'the callback has run');
    expect(await second.stop()).toBe(0);
    const ended = noted().filter(([what]) => what === 'ended');
    // at least once, and always as the same task: whoever repeats a step sends what follows it under the same id
    for (const nth of ['1', '2', '3', '4']) {
      const ids = ended.filter(([, which]) => which === nth).map(([, , id]) => id);
      expect(new Set(ids).size).toBe(1);
    }
    // Two runs of one step may meet: the one that is delivered again, and the one that its repeated step before sends. One of them goes on.
    expect(noted().filter(([what]) => what === 'last')).toHaveLength(1);
    expect(ended.at(-1)?.[2]).toBe(handle.id);
    // a step that runs a second time does not write its result a second time
    expect(await handle.status()).toEqual(settled);
  },
);
