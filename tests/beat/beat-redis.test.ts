/** Schedulers as processes on a private Redis; and what becomes of slots while it is away. */
import { expect, test } from 'vitest';
import { slotTaskId } from '../../src/beat/schedules/index.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { Project } from '../cli/run-cli.js';
import { startRedis } from '../support/redis-server.js';
import { beatCases } from './beat-cases.js';

beatCases('redis', async () => {
  const server = await startRedis();
  return { url: server.url, close: () => server.stop() };
});

const OUTAGE_APP = `
import { createApp } from 'lovage';
export const app = createApp({ name: 'beats' });
const tick = app.fn('tick', () => 1);
for (const catchUp of ['none', 'last', 'all'])
  app.schedule(catchUp, { every: '4s', catchUp }, tick.si().with({ queue: catchUp }));
`;

test('redis: after 14 seconds without the broker each entry of a 4 s schedule catches up by its policy, once a slot', {
  timeout: 90_000,
}, async () => {
  const server = await startRedis({ durable: true });
  const project = new Project();
  try {
    project.write('app.mjs', OUTAGE_APP);
    const beat = project.start(['beat', '--app', './app.mjs', '--broker', server.url]);
    await beat.until('beat: leads');
    const sent = async (queue: string): Promise<string[]> => {
      const broker = await openBroker({ url: server.url, logger: silentLogger, role: 'client' });
      try {
        const peeked = await broker.peek(queue, 1_000);
        return peeked.map((one) => ('message' in one ? String(one.message.headers['id']) : 'garbage'));
      } finally {
        await broker.close();
      }
    };
    await until(async () => (await sent('all')).length >= 1, 'a slot was sent', 20_000);
    const awayMs = Date.now();
    await server.kill9();
    // the outage itself lasts: nothing can be awaited in it
    await new Promise((resolve) => setTimeout(resolve, 14_000));
    await server.restart();
    await beat.until('the store answers again');
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
    await server.stop();
  }
});
