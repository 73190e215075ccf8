/**
 * Two scenes of drill 4: the clock of all schedulers is set forward and back by an hour, and the broker is away for longer than three
 * slots. What must hold in both: no slot twice, and of those left out every one is counted.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { PUNCTUAL_MS } from '../src/beat/entry.js';
import { loadDriver } from '../src/clients/sqlite/driver.js';
import { parseFileUrl } from '../src/clients/sqlite/location.js';
import { Beats } from './harness/beats.js';
import { type DrillBroker, openBroker } from './harness/brokers.js';
import { SetClock } from './harness/clock.js';
import type { Kit } from './harness/scene.js';
import { judgeSlots, slotIds } from './harness/slots.js';
import { pause, until } from './harness/wait.js';

const HOUR_MS = 3_600_000;
const TAKE_OVER_MS = 5_000;
const SCHEDULERS = 2;
const CALM_MS: Readonly<Record<Kit['size'], number>> = { quick: 1_500, full: 10_000 };
const AWAY_MS = 14_000;
const OUTAGE_EVERY_MS = 4_000;

/** An hour forward, back again, and forward again; in between the leader is killed while its clock shows what was already. */
export async function playClocks(kit: Kit): Promise<void> {
  const calmMs = CALM_MS[kit.size];
  const clock = new SetClock(join(kit.folder, 'clock'));
  const beats = await Beats.start(kit, { scene: 'clocks', count: SCHEDULERS, nodeFlags: clock.nodeFlags });
  const reached = async (entry: string, slotMs: number): Promise<void> =>
    until(async () => (await beats.entry(entry)).cursorMs >= slotMs, `clocks: ${entry} is decided up to its clock`, 30_000);
  const sent = async (): Promise<number> => (await beats.ids('clock-tens')).length + (await beats.ids('clock-seconds')).length;
  try {
    await reached('seconds', clock.nowMs() + calmMs);
    const { epoch } = await beats.store.lead();
    clock.step(HOUR_MS);
    const setMs = performance.now();
    await reached('tens', clock.nowMs());
    kit.figure('clocks: the slots of an hour are sent after', Math.round(performance.now() - setMs), 'ms');
    await pause(calmMs);
    clock.step(-HOUR_MS);
    // What is being decided at this moment was decided by the other time.
    await pause(100);
    const before = await sent();
    await pause(calmMs);
    const { tookMs } = await beats.disturb('SIGKILL');
    await pause(calmMs);
    kit.claim('clocks: sent while the clock shows what was already', (await sent()) - before, { equals: 0 });
    clock.step(HOUR_MS);
    await reached('seconds', clock.nowMs() + calmMs);
    const leads = (await beats.store.lead()).epoch - epoch;
    beats.stop();

    const tens = judgeSlots(await beats.stretch('tens', 10_000), await beats.ids('clock-tens'));
    const seconds = judgeSlots(await beats.stretch('seconds', 1_000), await beats.ids('clock-seconds'));
    kit.claim('clocks: slots of every ten seconds missing', tens.missing.length, { equals: 0 });
    kit.claim('clocks: sends twice', tens.twice.length + seconds.twice.length, { equals: 0 });
    kit.claim('clocks: sends of no slot', tens.strange.length + seconds.strange.length, { equals: 0 });
    kit.claim('clocks: changes of the lead beside that by the kill', leads - 1, { equals: 0 });
    kit.claim('clocks: take-over while the clock shows what was already', tookMs, { atMost: TAKE_OVER_MS }, 'ms');
    beats.claimCalm(kit, 'clocks', 1);
    kit.figure('clocks: slots of every ten seconds', tens.slots);
  } finally {
    await beats.close();
  }
}

/** Takes the broker away for a while: kills the server, or locks the file against all writers. */
async function takeAway({ server, brokerUrl }: DrillBroker, ms: number): Promise<void> {
  if (server !== null) {
    await server.kill9();
    await pause(ms);
    return server.restart();
  }
  const database = (await loadDriver()).open(parseFileUrl(brokerUrl).path);
  try {
    database.prepare('BEGIN IMMEDIATE').run([]);
    await pause(ms);
    database.prepare('ROLLBACK').run([]);
  } finally {
    database.close();
  }
}

/** The broker, one of its own, is away for 14 s over schedules of 4 s, one a policy. */
export async function playOutage(kit: Kit): Promise<void> {
  const folder = join(kit.folder, 'away');
  mkdirSync(folder);
  const broker = await openBroker(kit.broker.name, folder);
  const beats = await Beats.start(kit, { scene: 'outage', count: SCHEDULERS, broker });
  try {
    const policies = ['none', 'last', 'all'] as const;
    const decided = async (slotMs: number): Promise<void> => {
      for (const policy of policies)
        await until(async () => (await beats.entry(policy)).cursorMs >= slotMs, `outage: ${policy} goes on`, 60_000);
    };
    const firstMs = Math.ceil(Date.now() / OUTAGE_EVERY_MS) * OUTAGE_EVERY_MS;
    await decided(firstMs);
    await takeAway(broker, AWAY_MS);
    await decided(Math.ceil(Date.now() / OUTAGE_EVERY_MS) * OUTAGE_EVERY_MS);
    beats.stop();

    for (const policy of policies) {
      const stretch = await beats.stretch(policy, OUTAGE_EVERY_MS);
      const { missing, twice, strange } = judgeSlots(stretch, await beats.ids(`outage-${policy}`));
      const { missed, runs } = await beats.entry(policy);
      const name = `broker away for 14 s, catch-up ${policy}`;
      kit.claim(`${name}: slots twice, or of no slot`, twice.length + strange.length, { equals: 0 });
      kit.claim(`${name}: slots left out beside those that it counts as missed`, missing.length - missed, { equals: 0 });
      // Left out is what was too late at the decision that was taken next, and nothing else.
      let decidedMs = stretch.fromMs - 1;
      const late: number[] = [];
      for (const nextMs of new Set(runs.map(({ sentMs }) => sentMs))) {
        for (const slot of slotIds(stretch).keys())
          if (slot > decidedMs && slot <= nextMs && slot < nextMs - PUNCTUAL_MS) late.push(slot);
        decidedMs = nextMs;
      }
      const wanted = new Set(policy === 'all' ? [] : late);
      const wrongly =
        missing.filter((slot) => !wanted.has(slot)).length + [...wanted].filter((slot) => !missing.includes(slot)).length;
      kit.claim(`${name}: slots left out that were on time, or sent that were too late`, wrongly, { equals: 0 });
      if (policy === 'none') kit.claim('broker away for 14 s: slots that were too late by then', late.length, { atLeast: 1 });
    }
    beats.claimCalm(kit, 'broker away for 14 s', 0);
  } finally {
    await beats.close();
    await broker.close();
  }
}
