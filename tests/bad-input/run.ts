/**
 * The suite: a real worker process, bad input in its queue, and after each message the same questions. Is the process the
 * same and alive? Does a good task still run? Did the message end as the table says? Is nothing left unsettled, and is
 * nobody's Object.prototype changed?
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type App, createApp } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ParkedEntry } from '../../src/testing/broker-conformance.js';
import { Project, type RunningCli } from '../cli/run-cli.js';
import { type BadCase, CASES, type Fate, fateOn, idOf, type RawMessage } from './cases.js';
import type { Side } from './side.js';

const PATIENCE_MS = 15_000;
const GOOD = 200;
const BAD = 200;

const TASKS = `
import { appendFileSync } from 'node:fs';
import { createApp, taskContext } from 'lovage';
export const app = createApp({ name: 'bad-input' });
app.fn('t.add', (x, y) => x + y, { params: ['x', 'y'] });
app.fn('t.look', () => {
  appendFileSync(process.env.RAN_LEDGER, JSON.stringify(taskContext().id) + '\\n');
  return 'seen';
}, { params: ['...args', '**others'] });
app.fn('t.slow', (...args) => new Promise((resolve) => setTimeout(resolve, 30, 'seen')), { params: ['...args', '**others'] });
app.fn('t.again', (...args) => {
  if (taskContext().attempt <= 2) throw new Error('not yet');
  return 'seen';
}, { params: ['...args', '**others'], retry: { max: 2, backoff: 'fixed', base: '1ms', jitter: 'full' } });
`;

/** Loaded by each thread of the worker before anything else: tells of any change to the objects that everybody inherits from. */
const WATCH = `
import { appendFileSync } from 'node:fs';
import { threadId } from 'node:worker_threads';
const look = () => [Object, Array, Function, String, Promise].map(({ prototype }) => Reflect.ownKeys(prototype).map(String).join()).join(';');
const before = look();
const tell = (word) => appendFileSync(process.env.WATCH_LEDGER, word + ' ' + threadId + '\\n');
tell('watching');
setInterval(() => before === look() || tell('polluted'), 20).unref();
`;

/** A message on its way, and how it must end. */
interface Sent {
  readonly name: string;
  readonly raw: RawMessage | Buffer;
  readonly id: string | null;
  readonly fate: Fate;
}

export function badInputSuite(open: () => Promise<Side>, name: Side['name']): void {
  const rows = CASES.flatMap((row) => {
    const fate = fateOn(name, row);
    const ends = fate?.kind === 'parked' ? `parked with ${fate.code}` : fate?.kind;
    return fate === null ? [] : [{ row, fate, title: `${row.name}: ${ends}, and the next task runs` }];
  });

  describe.each(['threads', 'processes', 'async'] as const)(`bad input on ${name}, pool %s`, (pool) => {
    const project = new Project();
    let side: Side;
    let worker: RunningCli;
    let app: App;
    let pid: number | undefined;
    let sequence = 0;
    let waiting = 0;
    let read = 0;
    let parkedSoFar: readonly ParkedEntry[] = [];

    const send = (row: BadCase, fate: Fate): Sent => {
      const raw = row.make(`bad-${pool}-${++sequence}`);
      return { name: row.name, raw, id: idOf(raw), fate };
    };
    const good = (): ReturnType<ReturnType<typeof remoteAdd>['send']> => remoteAdd(app, side.queue).send(sequence++, 1);

    beforeAll(async () => {
      side = await open();
      project.write('tasks.mjs', TASKS);
      project.write('watch.mjs', WATCH);
      project.write('ledger', '');
      project.write('ran', '');
      worker = project.start(
        [
          'worker',
          '--app',
          './tasks.mjs',
          '--pool',
          pool,
          '--broker',
          side.brokerUrl,
          '--queues',
          side.queue,
          '--unknown-task-patience',
          '1s',
          '--log-format',
          'json',
        ],
        {
          NODE_OPTIONS: `--import ${join(project.folder, 'watch.mjs')}`,
          WATCH_LEDGER: join(project.folder, 'ledger'),
          RAN_LEDGER: join(project.folder, 'ran'),
        },
      );
      await worker.until('worker ready');
      pid = worker.child.pid;
      app = createApp({ name: 'sender', broker: side.brokerUrl });
    });
    afterAll(async () => {
      await app?.close();
      project.remove();
      await worker?.finished;
      await side?.close();
    });

    /** The process that was started still runs, and so do its threads. */
    const expectAlive = (): void => {
      const log = worker.stderr().slice(read);
      read += log.length;
      expect(worker.child.exitCode ?? worker.child.signalCode, log.slice(-4_000)).toBeNull();
      expect(worker.child.pid).toBe(pid);
      expect(log).not.toMatch(
        /executor thread died|could not be settled|could not be stored|settling failed|E_INTERNAL|unhandled|subscription broken/i,
      );
      const ledger = readFileSync(join(project.folder, 'ledger'), 'utf8');
      expect(ledger).not.toContain('polluted');
      expect(ledger.match(/watching/g)?.length).toBeGreaterThanOrEqual(2);
    };

    /** Waits until each has ended as it must, and tells how many ended in which way. */
    const expectFates = async (sent: readonly Sent[]): Promise<Record<string, number>> => {
      const later = sent.filter(({ fate }) => fate.kind === 'waits').length;
      waiting += later;
      const ended: Record<string, number> = {};
      const expected = sent.filter(({ fate }) => fate.kind === 'parked');
      const before = parkedSoFar.length;
      let entries: readonly ParkedEntry[] = [];
      await until(
        async () => (entries = await side.parked()).length >= before + expected.length,
        () =>
          `${before + expected.length} are parked, there are ${entries.length}: ${expected.map((one) => one.name).join(', ')}\n${worker.stderr().slice(-3_000)}`,
      );
      const fresh = freshEntries(entries, parkedSoFar);
      parkedSoFar = entries;
      for (const one of expected) {
        const fate = one.fate as Extract<Fate, { kind: 'parked' }>;
        const at = fresh.findIndex(
          (entry) => side.isOf(entry, one.raw) && entry.code === fate.code && fate.reason.test(entry.reason),
        );
        expect(
          at,
          `${one.name}: raw bytes with ${fate.code} ${fate.reason} among ${fresh
            .map(({ code, reason }) => `${code} ${reason}`)
            .join(' | ')
            .slice(0, 2_000)}`,
        ).toBeGreaterThanOrEqual(0);
        fresh.splice(at, 1);
        ended['parked'] = (ended['parked'] ?? 0) + 1;
      }
      expect(fresh.map(({ code, reason }) => `${code} ${reason}`)).toEqual([]);
      const told = sent.flatMap(({ id, fate, name: title }) => {
        const wanted = {
          ran: 'SUCCESS',
          failed: 'FAILURE',
          revoked: 'REVOKED',
          waits: null,
          acknowledged: null,
          parked: fate.kind === 'parked' ? fate.result : null,
        }[fate.kind];
        return id === null || wanted === null ? [] : [{ id, fate, title, wanted }];
      });
      let metas: readonly (string | null)[] = [];
      await until(
        async () => (metas = await side.results(told.map(({ id }) => id))).every(isFinal),
        () =>
          `results of ${told
            .filter((_, at) => !isFinal(metas[at] ?? null))
            .map(({ title, id }) => `${title} (${id.slice(0, 40)})`)
            .join(', ')}\n${worker.stderr().slice(-3_000)}`,
      );
      told.forEach(({ title, wanted, fate }, at) => {
        const meta = JSON.parse(metas[at] as string) as { status: string; result: unknown };
        expect(meta.status, `${title}: ${metas[at]?.slice(0, 500)}`).toBe(wanted);
        if (fate.kind === 'ran') expect(meta.result).toBe('seen');
        if (fate.kind === 'failed') expect(JSON.stringify(meta.result).replaceAll('\\', '')).toMatch(fate.says);
        if (fate.kind !== 'parked') ended[fate.kind] = (ended[fate.kind] ?? 0) + 1;
      });
      const untold = sent.filter(({ fate, id }) => id !== null && fate.kind === 'parked' && fate.result === null);
      expect(await side.results(untold.map(({ id }) => id as string))).toEqual(untold.map(() => null));
      if (later > 0) ended['waits'] = later;
      const acknowledged = sent.filter(({ fate }) => fate.kind === 'acknowledged');
      for (const { id } of acknowledged) {
        await until(
          async () => readFileSync(join(project.folder, 'ran'), 'utf8').includes(JSON.stringify(id)),
          () => `${id} has run`,
        );
      }
      if (acknowledged.length > 0) ended['acknowledged'] = acknowledged.length;
      return ended;
    };

    const expectNothingLeft = async (): Promise<void> => {
      let places = await side.places();
      await until(
        async () => {
          places = await side.places();
          return places.ready === 0 && places.unacked === 0 && places.delayed === waiting;
        },
        () => `nothing is left but ${waiting} delayed: ${JSON.stringify(places)}\n${worker.stderr().slice(-3_000)}`,
      );
    };

    // What is large comes last: each look at what was parked would read it again.
    const largeLast = [...rows].sort((a, b) => Number(a.row.once ?? false) - Number(b.row.once ?? false));
    for (const { row, fate, title } of largeLast)
      test(title, async () => {
        const one = send(row, fate);
        await side.put(one.raw);
        const after = await good();
        await expectFates([one]);
        expect(await after.result({ timeout: `${PATIENCE_MS}ms` })).toBe(Number(sequence));
        if (side.name !== 'rabbitmq' || fate.kind === 'waits' || fate.kind === 'acknowledged') await expectNothingLeft();
        expectAlive();
      }, 60_000);

    test(`${BAD} of them among ${GOOD} good tasks: each ends as it must, and nothing is lost`, async () => {
      const usable = rows.filter(({ row }) => !row.once);
      const sent: Sent[] = [];
      const handles: Awaited<ReturnType<typeof good>>[] = [];
      const values: number[] = [];
      for (let count = 0; count < BAD; count++) {
        const { row, fate } = usable[count % usable.length] as (typeof usable)[number];
        const one = send(row, fate);
        sent.push(one);
        values.push(sequence + 1);
        const [handle] = await Promise.all([good(), side.put(one.raw)]);
        handles.push(handle);
      }
      expect(handles).toHaveLength(GOOD);
      const results = await Promise.all(handles.map((handle) => handle.result({ timeout: '60s' })));
      expect(results).toEqual(values);
      const ended = await expectFates(sent);
      await expectNothingLeft();
      expectAlive();
      expect(Object.values(ended).reduce((sum, count) => sum + count, 0)).toBe(BAD);
    }, 120_000);

    test('then it stops as if nothing had been, with 0', async () => {
      expectAlive();
      worker.child.kill('SIGTERM');
      expect((await worker.finished).code).toBe(0);
      expect(JSON.parse(worker.stderr().trimEnd().split('\n').at(-1) ?? '')).toMatchObject({
        msg: 'worker stopped',
        handedBack: 0,
      });
    });
  });
}

const isFinal = (meta: string | null): boolean =>
  meta !== null && ['SUCCESS', 'FAILURE', 'REVOKED'].includes((JSON.parse(meta) as { status: string }).status);

const remoteAdd = (app: App, queue: string) => app.remote<[x: number, y: number], number>('t.add', { queue });

/** Entries that were not there before. A driver makes new objects at each look, so they are told apart by what they hold. */
function freshEntries(entries: readonly ParkedEntry[], known: readonly ParkedEntry[]): ParkedEntry[] {
  const print = ({ code, reason, raw }: ParkedEntry): string =>
    `${code} ${reason} ${raw.length} ${Buffer.from(raw.subarray(0, 4_096)).toString('base64')}`;
  const counts = new Map<string, number>();
  for (const entry of known) counts.set(print(entry), (counts.get(print(entry)) ?? 0) + 1);
  return entries.filter((entry) => {
    const left = counts.get(print(entry)) ?? 0;
    if (left > 0) counts.set(print(entry), left - 1);
    return left === 0;
  });
}

async function until(condition: () => Promise<boolean>, what: () => string): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`waited ${PATIENCE_MS} ms in vain until ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
