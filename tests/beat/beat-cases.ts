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
  /** Where schedules are kept, if not at the broker. */
  readonly results?: string;
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

/** `repeats`: tasks and decision are two steps, so a leader that ends between them has its last slot sent again under the same id. */
export function beatCases(
  name: string,
  open: (project: Project) => Promise<BeatPlace>,
  { repeats = 0 }: { readonly repeats?: number } = {},
): void {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function stage(): Promise<{ project: Project; url: string; beat(): RunningCli; sent(): Promise<Sent[]> }> {
    const project = new Project();
    cleanups.push(() => project.remove());
    project.write('app.mjs', APP);
    const { url, results, close } = await open(project);
    cleanups.push(close);
    const broker = await openBroker({ url, logger: silentLogger, role: 'engine' });
    cleanups.push(() => broker.close());
    await broker.declare('fast');
    return {
      project,
      url,
      beat: () =>
        project.start(['beat', '--app', './app.mjs', '--broker', url, ...(results === undefined ? [] : ['--results', results])]),
      sent: async () =>
        (await broker.peek('fast', 10_000)).flatMap((peeked): Sent[] => {
          if (!('message' in peeked)) return [];
          const { id, sent_at: atS } = peeked.message.headers as { readonly id: string; readonly sent_at?: number };
          return [{ id, atMs: Number(atS ?? 0) * 1_000 }];
        }),
    };
  }

  /** The slots that were sent; each is one of the schedule, none is missing between the first and the last, and none came twice, or more often than may be. */
  function slotsOf(sent: readonly Sent[], fromMs: number): number[] {
    const ids = [...new Set(sent.map(({ id }) => id))];
    expect(sent.length - ids.length, 'sent more than once').toBeLessThanOrEqual(repeats);
    const slots: number[] = [];
    for (let slot = Math.ceil(fromMs / EVERY_MS) * EVERY_MS; slot <= Date.now(); slot += EVERY_MS)
      if (ids.includes(slotTaskId('fast', slot))) slots.push(slot);
    expect(ids, 'sent for no slot').toHaveLength(slots.length);
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

/** A broker that can be killed. */
export interface MortalPlace extends BeatPlace {
  kill9(): Promise<void>;
  restart(): Promise<void>;
}

const OUTAGE_APP = `
import { createApp } from 'lovage';
export const app = createApp({ name: 'beats' });
const tick = app.fn('tick', () => 1);
for (const catchUp of ['none', 'last', 'all'])
  app.schedule(catchUp, { every: '4s', catchUp }, tick.si().with({ queue: catchUp }));
`;

/** @param back what the log of the leader says when it can decide again */
export function outageCase(name: string, open: () => Promise<MortalPlace>, back: string): void {
  test(`${name}: after 14 seconds without the broker each entry of a 4 s schedule catches up by its policy, once a slot`, {
    timeout: 150_000,
  }, async () => {
    const server = await open();
    const project = new Project();
    try {
      project.write('app.mjs', OUTAGE_APP);
      const beat = project.start(['beat', '--app', './app.mjs', '--broker', server.url]);
      await beat.until('beat: leads');
      const sent = async (queue: string): Promise<string[]> => {
        const broker = await openBroker({ url: server.url, logger: silentLogger, role: 'client' });
        try {
          await broker.declare(queue);
          const peeked = await broker.peek(queue, 1_000);
          return peeked.map((one) => ('message' in one ? String(one.message.headers['id']) : 'garbage'));
        } finally {
          await broker.close();
        }
      };
      // Sent and noted: on RabbitMQ alone a broker that dies between the two gets the slot a second time, as its guide says.
      const told = (): number => beat.stderr().split('beat: sent').length - 1;
      await until(() => told() >= 3, 'a slot was sent for each entry', 20_000);
      expect(await sent('all')).not.toEqual([]);
      const awayMs = Date.now();
      await server.kill9();
      // the outage itself lasts: nothing can be awaited in it
      await new Promise((resolve) => setTimeout(resolve, 14_000));
      await server.restart();
      await beat.until(back);
      const backMs = Date.now();
      await until(
        async () => (await sent('all')).includes(slotTaskId('all', 4_000 * Math.ceil(backMs / 4_000))),
        'the next slot',
        20_000,
      );
      beat.child.kill('SIGTERM');
      expect((await beat.finished).code).toBe(0);
      const slots = async (entry: string): Promise<number[]> => {
        const ids = await sent(entry);
        const found: number[] = [];
        for (let slot = Math.ceil((awayMs - 20_000) / 4_000) * 4_000; slot <= Date.now(); slot += 4_000)
          if (ids.includes(slotTaskId(entry, slot))) found.push(slot);
        expect(ids, `${entry}: each slot once`).toHaveLength(found.length);
        return found;
      };
      const all = await slots('all');
      expect(all.at(-1)).toBe((all[0] as number) + 4_000 * (all.length - 1));
      for (const entry of ['none', 'last']) {
        const found = await slots(entry);
        const missed = all.filter((slot) => !found.includes(slot));
        // Left out is what was more than six seconds old when the broker was back, and nothing else.
        expect(missed.length, entry).toBeGreaterThan(0);
        for (const slot of missed) expect(backMs - slot).toBeGreaterThan(5_000);
        for (const slot of all) if (slot > backMs - 5_000) expect(found).toContain(slot);
      }
    } finally {
      project.remove();
      await server.close();
    }
  });
}
