/** Schedulers as processes on a private RabbitMQ with their schedules in PostgreSQL; and what becomes of slots while PostgreSQL is away. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { slotTaskId } from '../../src/beat/schedules/index.js';
import { openBroker } from '../../src/brokers/from-url.js';
import { silentLogger } from '../../src/core/logger.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { Project } from '../cli/run-cli.js';
import { type PostgresServer, startPostgres } from '../support/postgres-server.js';
import { type RabbitmqServer, startRabbitmq } from '../support/rabbitmq-server.js';
import { beatCases } from './beat-cases.js';

let rabbitmq: RabbitmqServer;
let postgres: PostgresServer;
let places = 0;
beforeAll(async () => {
  [rabbitmq, postgres] = await Promise.all([startRabbitmq(), startPostgres()]);
}, 120_000);
afterAll(async () => {
  await Promise.all([rabbitmq?.stop(), postgres?.stop()]);
});

/** A schema of its own, and empty queues. */
async function place(): Promise<{ readonly url: string; readonly results: string; close(): Promise<void> }> {
  places += 1;
  const broker = await openBroker({ url: rabbitmq.url, logger: silentLogger, role: 'client' });
  await broker.purge('fast');
  await broker.close();
  return { url: rabbitmq.url, results: postgres.urlOf({ schema: `beats_${places}` }), close: async () => {} };
}

beatCases('rabbitmq with postgresql', place, { repeats: 1 });

const OUTAGE_APP = `
import { createApp } from 'lovage';
export const app = createApp({ name: 'beats' });
const tick = app.fn('tick', () => 1);
app.schedule('all', { every: '500ms', catchUp: 'all' }, tick.si().with({ queue: 'fast' }));
`;

test('while PostgreSQL is away nothing is decided, and afterwards each slot is sent under its own id', {
  timeout: 90_000,
}, async () => {
  const { url, results } = await place();
  const project = new Project();
  const broker = await openBroker({ url, logger: silentLogger, role: 'client' });
  try {
    project.write('app.mjs', OUTAGE_APP);
    const beat = project.start(['beat', '--app', './app.mjs', '--broker', url, '--results', results]);
    await beat.until('beat: leads');
    const ids = async (): Promise<Set<string>> =>
      new Set(
        (await broker.peek('fast', 10_000)).map((one) => ('message' in one ? String(one.message.headers['id']) : 'garbage')),
      );
    await until(async () => (await ids()).size >= 2, 'the leader sends', 20_000);
    await postgres.kill9();
    await beat.until('schedules cannot be listened to');
    const awayMs = Date.now();
    await postgres.restart();
    await beat.until('schedules are listened to again');
    const next = slotTaskId('all', 500 * Math.ceil((Date.now() + 500) / 500));
    await until(async () => (await ids()).has(next), 'the slots after it', 30_000);
    beat.child.kill('SIGTERM');
    expect((await beat.finished).code).toBe(0);
    const sent = await ids();
    const slots: number[] = [];
    for (let slot = Math.floor(awayMs / 500) * 500 - 30_000; slot <= Date.now(); slot += 500)
      if (sent.has(slotTaskId('all', slot))) slots.push(slot);
    expect(sent.size, 'runs of no slot').toBe(slots.length);
    expect(slots.at(-1), 'slots missing in between').toBe((slots[0] as number) + 500 * (slots.length - 1));
  } finally {
    await broker.close();
    project.remove();
  }
});
