/**
 * Schedulers as processes, on each broker: what `lovage beat` promises when leaders are killed or stand still. Judged by the messages that
 * lie in the queue, which nobody takes out: each is one send.
 */
import { afterEach, expect, test } from 'vitest';
import { slotTaskId } from '../../src/beat/schedules/index.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { Project, type RunningCli } from '../cli/run-cli.js';

/** Where the schedulers run. */
export interface BeatPlace {
  readonly url: string;
  close(): Promise<void>;
}

const APP = `
import { createApp } from 'lovage';
export const app = createApp({ name: 'beats' });
const tick = app.fn('tick', () => 1);
app.schedule('fast', { every: '500ms', catchUp: 'all' }, tick.si().with({ queue: 'fast' }));
`;
const EVERY_MS = 500;
/** Of a take-over, in the promise. */
const TAKE_OVER_MS = 5_000;

interface Sent {
  readonly id: string;
  readonly atMs: number;
}

export function beatCases(name: string, open: (project: Project) => Promise<BeatPlace>): void {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function stage(): Promise<{ project: Project; url: string; beat(): RunningCli; sent(): Promise<Sent[]> }> {
    const project = new Project();
    cleanups.push(() => project.remove());
    project.write('app.mjs', APP);
    const { url, close } = await open(project);
    cleanups.push(close);
    const broker = await openBroker({ url, logger: silentLogger, role: 'engine' });
    cleanups.push(() => broker.close());
    return {
      project,
      url,
      beat: () => project.start(['beat', '--app', './app.mjs', '--broker', url]),
      sent: async () =>
        (await broker.peek('fast', 10_000)).flatMap((peeked): Sent[] => {
          if (!('message' in peeked)) return [];
          const { id, sent_at: atS } = peeked.message.headers as { readonly id: string; readonly sent_at?: number };
          return [{ id, atMs: Number(atS ?? 0) * 1_000 }];
        }),
    };
  }

  /** The slots that were sent; each is one of the schedule, none is missing between the first and the last, and none came twice. */
  function slotsOf(sent: readonly Sent[], fromMs: number): number[] {
    const ids = sent.map(({ id }) => id);
    const slots: number[] = [];
    for (let slot = Math.ceil(fromMs / EVERY_MS) * EVERY_MS; slot <= Date.now(); slot += EVERY_MS)
      if (ids.includes(slotTaskId('fast', slot))) slots.push(slot);
    expect(ids, 'sent more than once, or for no slot').toHaveLength(slots.length);
    expect(slots.at(-1), 'slots missing in between').toBe((slots[0] ?? 0) + (slots.length - 1) * EVERY_MS);
    return slots;
  }

  test(`${name}: of two schedulers one stands by, and takes over within five seconds when the leader is killed`, {
    timeout: 60_000,
  }, async () => {
    const fromMs = Date.now();
    const { beat, sent } = await stage();
    const first = beat();
    await first.until('beat: leads');
    const second = beat();
    await second.until('stands by');
    await until(async () => (await sent()).length >= 3, 'the leader sends', 20_000);
    const killedMs = Date.now();
    first.child.kill('SIGKILL');
    await second.until('beat: leads');
    const tookMs = Date.now() - killedMs;
    const before = (await sent()).length;
    await until(async () => (await sent()).length >= before + 3, 'the new leader sends', 20_000);
    second.child.kill('SIGTERM');
    expect((await second.finished).code).toBe(0);
    slotsOf(await sent(), fromMs);
    // a bound of the promise and not a measurement: a loaded machine gets as much again
    expect(tookMs).toBeLessThan(2 * TAKE_OVER_MS);
  });

  test(`${name}: a leader that stood still finds itself replaced and sends nothing twice`, { timeout: 60_000 }, async () => {
    const fromMs = Date.now();
    const { beat, sent } = await stage();
    const first = beat();
    await first.until('beat: leads');
    const second = beat();
    await second.until('stands by');
    await until(async () => (await sent()).length >= 2, 'the leader sends', 20_000);
    first.child.kill('SIGSTOP');
    await second.until('beat: leads');
    const before = (await sent()).length;
    await until(async () => (await sent()).length >= before + 2, 'the new leader sends', 20_000);
    first.child.kill('SIGCONT');
    await first.until('the lead was lost');
    const then = (await sent()).length;
    await until(async () => (await sent()).length >= then + 3, 'one of them sends', 20_000);
    for (const each of [first, second]) each.child.kill('SIGTERM');
    expect([(await first.finished).code, (await second.finished).code]).toEqual([0, 0]);
    slotsOf(await sent(), fromMs);
  });

  test(`${name}: a leader that is asked to stop hands the lead over at once`, { timeout: 60_000 }, async () => {
    const fromMs = Date.now();
    const { beat, sent } = await stage();
    const first = beat();
    await first.until('beat: leads');
    const second = beat();
    await second.until('stands by');
    await until(async () => (await sent()).length >= 2, 'the leader sends', 20_000);
    first.child.kill('SIGTERM');
    expect((await first.finished).code).toBe(0);
    await second.until('beat: leads');
    const before = (await sent()).length;
    await until(async () => (await sent()).length >= before + 2, 'the new leader sends', 20_000);
    second.child.kill('SIGTERM');
    await second.finished;
    slotsOf(await sent(), fromMs);
  });
}
