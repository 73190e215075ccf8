/**
 * Chords of many parts, each with one fault: a part that fails, is revoked, has expired, kills every worker, or whose worker is killed;
 * a result store that answers nothing, or that is killed and started again. The body runs once, or its errback once, within 30 s.
 *
 * `LOVAGE_CHORD_PARTS` (default 100; 1,000 and more: with a store that is away for longer than a write may take), one file a broker.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { chord, group, type TaskHandle } from 'lovage';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CliWorker } from '../worker/cli-worker.js';
import { until } from '../worker/harness.js';
import type { CanvasBroker } from './chain-cases.js';

type Fixture = typeof import('./chord-faults-app.js');
type Part = ReturnType<Fixture['part' | 'fail' | 'poison']['si']>;

const PARTS = Number(process.env.LOVAGE_CHORD_PARTS ?? 100);
const IS_FULL = PARTS >= 1_000;
const WORKERS = 2;
const SOON_MS = 30_000;
/** What the body makes of the parts. */
const ALL = (PARTS * (PARTS - 1)) / 2;

export interface FaultyBroker extends CanvasBroker {
  /** From now on the result store answers nothing; resolves with what lets it answer again. */
  block(): Promise<() => Promise<void> | void>;
  /** How long it is away: for a while, and for longer than a write may take. */
  readonly blockMs: { readonly quick: number; readonly full: number };
  /** How many workers a part kills before it is parked: RabbitMQ does not count the first. */
  readonly deaths: 3 | 4;
  /** Kills the store's server and starts it again; `null`: it has none. */
  readonly restart: (() => Promise<void>) | null;
}

export function chordFaultsSuite(name: string, open: () => Promise<FaultyBroker>): void {
  describe(`a chord of ${PARTS} parts on ${name}`, () => {
    let folder: string;
    let ledger: string;
    let broker: FaultyBroker;
    let tasks: Fixture;
    let chords = 0;
    let isOver = false;
    const workers: CliWorker[] = [];
    /** Replaces each worker that is killed, as a supervisor does. */
    let kept: Promise<unknown>;
    beforeAll(async () => {
      broker = await open();
      folder = mkdtempSync(join(tmpdir(), 'lovage-chord-faults-'));
      ledger = join(folder, 'ledger');
      writeFileSync(ledger, '');
      process.env.LOVAGE_TEST_BROKER = broker.brokerUrl;
      process.env.LOVAGE_TEST_RESULTS = broker.resultUrl;
      process.env.LOVAGE_TEST_LEDGER = ledger;
      tasks = (await import(/* @vite-ignore */ `${new URL('./chord-faults-app.ts', import.meta.url).href}?${folder}`)) as Fixture;
      await Promise.all(Array.from({ length: WORKERS }, start));
      kept = Promise.all(Array.from({ length: WORKERS }, (_, place) => keep(place)));
    }, 90_000);
    afterAll(async () => {
      isOver = true;
      await kept;
      await tasks?.app.close();
      await broker?.close();
      rmSync(folder, { recursive: true, force: true });
    });

    async function start(_: unknown, place: number): Promise<void> {
      const args = ['--app', 'tests/canvas/chord-faults-app.ts', '--lease', '1s', '--threads', '1', '--concurrency', '20'];
      workers[place] = await CliWorker.start([...args, '--events', 'off']);
    }

    async function keep(place: number): Promise<void> {
      while (!isOver) {
        await until(() => isOver || workers[place]?.ended !== null, 'it is over, or a worker has ended', 3_600_000);
        if (!isOver) await start(null, place);
      }
      await workers[place]?.stop();
    }

    const linesOf = (of: string, what: string): string[] =>
      readFileSync(ledger, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith(`${of} ${what} `));

    interface Sent {
      readonly key: string;
      readonly handle: TaskHandle<number>;
    }

    /** @param faulty takes the place of the part in the middle */
    async function send(key: string, delayMs: number, faulty?: Part): Promise<Sent> {
      const parts = Array.from({ length: PARTS }, (_, nth): Part => tasks.part.si(key, nth, delayMs));
      if (faulty) parts[PARTS / 2] = faulty;
      const whole = chord(group(parts), tasks.body.s(key)).onError(tasks.alert.s(key));
      return { key, handle: await whole.send({ timeout: '60s' }) };
    }

    const newKey = (): string => `chord-${++chords}`;

    /** Another chord, sent behind this one, is through: nothing of this one is left to be done. */
    async function settled(): Promise<void> {
      const { handle } = await send(newKey(), 0);
      expect(await handle.result({ timeout: '60s' })).toBe(ALL);
    }

    const report = (fault: string, sinceMs: number): void => {
      if (IS_FULL) console.log(`${name}, ${PARTS} parts, ${fault}: ended after ${Math.round(performance.now() - sinceMs)} ms`);
    };

    async function succeeds(fault: string, { key, handle }: Sent, sinceMs: number): Promise<void> {
      expect(await handle.result({ timeout: `${SOON_MS}ms` })).toBe(ALL);
      report(fault, sinceMs);
      await settled();
      expect(linesOf(key, 'body')).toEqual([`${key} body ${ALL}`]);
      expect(linesOf(key, 'alert')).toEqual([]);
    }

    /** @param others how many of the parts run */
    async function fails(fault: string, { key, handle }: Sent, sinceMs: number, others: number): Promise<void> {
      const alerted = until(() => linesOf(key, 'alert').length > 0, 'the errback has run', SOON_MS);
      await expect(handle.result({ timeout: `${SOON_MS}ms` })).rejects.toMatchObject({
        code: 'E_TASK_FAILED',
        type: 'ChordError',
      });
      await alerted;
      report(fault, sinceMs);
      await until(() => new Set(linesOf(key, 'part')).size === others, 'the other parts have run', 60_000);
      await settled();
      expect(linesOf(key, 'alert')).toEqual([`${key} alert ${handle.id}`]);
      expect(linesOf(key, 'body')).toEqual([]);
    }

    test('calls its errback once when a part fails', { timeout: 120_000 }, async () => {
      const key = newKey();
      const sinceMs = performance.now();
      await fails('a part fails', await send(key, 5, tasks.fail.si(key, PARTS / 2)), sinceMs, PARTS);
    });

    test('calls its errback once when a part has expired', { timeout: 120_000 }, async () => {
      const key = newKey();
      const sinceMs = performance.now();
      const late = tasks.part.with({ expires: new Date(Date.now() - 60_000) }).si(key, PARTS / 2, 0);
      await fails('a part has expired', await send(key, 5, late), sinceMs, PARTS - 1);
    });

    test('calls its errback once when a part that waits is revoked', { timeout: 120_000 }, async () => {
      const key = newKey();
      const id = `${key}-waits-${name}`;
      const sent = await send(key, 5, tasks.part.with({ id, countdown: '2s' }).si(key, PARTS / 2, 0));
      const sinceMs = performance.now();
      await tasks.app.handle(id).revoke();
      await fails('a part is revoked', sent, sinceMs, PARTS - 1);
    });

    test('runs its body once when a worker is killed half way', { timeout: 120_000 }, async () => {
      const key = newKey();
      writeFileSync(`${ledger}.${key}-${PARTS / 2}`, '');
      const before = [...workers];
      const sent = await send(key, 5);
      await until(() => before.some(({ ended }) => ended === 'SIGKILL'), 'a worker was killed', 30_000);
      await succeeds('a worker is killed', sent, performance.now());
    });

    test('calls its errback once when a part kills every worker', { timeout: 120_000 }, async () => {
      const key = newKey();
      const sinceMs = performance.now();
      const sent = await send(key, 5, tasks.poison.si(key));
      await fails('a part is poison', sent, sinceMs, PARTS - 1);
      expect(linesOf(key, 'poison')).toHaveLength(broker.deaths);
    });

    test('runs its body once when results cannot be written for a while', { timeout: 180_000 }, async () => {
      const key = newKey();
      const sent = await send(key, 100);
      await until(() => linesOf(key, 'part').length >= PARTS / 4, 'a quarter of the parts have run', 30_000);
      const unblock = await broker.block();
      // the time is the fault
      await wait(IS_FULL ? broker.blockMs.full : broker.blockMs.quick);
      await unblock();
      await succeeds('results cannot be written', sent, performance.now());
    });

    test('runs its body once when the result store is killed and started again', { timeout: 180_000 }, async (context) => {
      if (!broker.restart) return context.skip('it has no server');
      const key = newKey();
      const sent = await send(key, 100);
      await until(() => linesOf(key, 'part').length >= PARTS / 4, 'a quarter of the parts have run', 30_000);
      await broker.restart();
      await succeeds('the store is restarted', sent, performance.now());
    });
  });
}
