import { afterEach, describe, expect, test } from 'vitest';
import type { Broker } from '../../../brokers/broker.js';
import type { Pause } from '../../../brokers/pauses.js';
import { BrokerError } from '../../../core/errors.js';
import { silentLogger } from '../../../core/logger.js';
import { createFakeClock } from '../../../testing/fake-clock.js';
import { PauseWatch } from './pauses.js';

const NOW = 1_800_000_000_000;
const watches: PauseWatch[] = [];
afterEach(() => {
  for (const watch of watches.splice(0)) watch.close();
});

/** A watch on a list that the test holds; `failing` makes reading fail. */
function watching(pauses: Pause[]) {
  const state = { reads: 0, failing: false, gate: null as Promise<void> | null };
  const told: string[][] = [];
  const list = async (): Promise<readonly Pause[]> => {
    state.reads += 1;
    const seen = [...pauses];
    await state.gate;
    if (state.failing) throw new BrokerError('E_CONNECTION_LOST', 'away');
    return seen;
  };
  const clock = createFakeClock(NOW);
  const watch = new PauseWatch({ broker: { pauses: { list } } as unknown as Broker, clock, logger: silentLogger });
  watch.onQueues = (queues) => told.push([...queues]);
  watches.push(watch);
  return { watch, state, told, clock };
}

const queue = (name: string): Pause => ({ kind: 'queue', name, sinceMs: NOW });
const task = (name: string, sinceMs = NOW): Pause => ({ kind: 'task', name, sinceMs });

describe('the pauses of a worker', () => {
  test('are read at the start, and who consumes is told of queues when they change', async () => {
    const pauses = [queue('slow'), task('mails.send')];
    const { watch, told } = watching(pauses);
    await watch.start();
    expect([[...watch.queues], watch.tasks, told]).toEqual([['slow'], ['mails.send'], [['slow']]]);
    pauses.splice(0, 2, task('other'), queue('slow'));
    await watch.refresh();
    expect([watch.tasks, told]).toEqual([['other'], [['slow']]]);
    pauses.splice(0);
    await watch.refresh();
    expect([[...watch.queues], watch.tasks, told]).toEqual([[], [], [['slow'], []]]);
  });

  test('let a paused task wait for 7 to 15 seconds, longer the longer it is paused, and never more than a minute', async () => {
    const { watch } = watching([
      task('fresh'),
      task('old', NOW - 300_000),
      task('ancient', NOW - 86_400_000),
      task('ahead', NOW + 9e9),
    ]);
    await watch.start();
    const waits = (name: string): (number | null)[] =>
      [0, 1].map((random) => watch.waitUntilMs(name, NOW, random)).map((at) => at && at - NOW);
    expect(waits('fresh')).toEqual([7_500, 15_000]);
    expect(waits('old')).toEqual([15_000, 30_000]);
    expect(waits('ancient')).toEqual([30_000, 60_000]);
    expect(waits('ahead')).toEqual([7_500, 15_000]);
    expect(waits('another')).toEqual([null, null]);
  });

  test('stay as they were while the broker is away, and are read again when somebody asks', async () => {
    const pauses = [queue('slow')];
    const { watch, state, told } = watching(pauses);
    await watch.start();
    state.failing = true;
    pauses.splice(0);
    await watch.refresh();
    expect([...watch.queues]).toEqual(['slow']);
    state.failing = false;
    await watch.refresh();
    expect([[...watch.queues], told.at(-1)]).toEqual([[], []]);
  });

  test('that change while they are being read are read once more, however often that is said', async () => {
    const pauses: Pause[] = [];
    const { watch, state } = watching(pauses);
    let open: () => void = () => {};
    state.gate = new Promise((resolve) => (open = resolve));
    const first = watch.refresh();
    pauses.push(queue('slow'));
    const others = [watch.refresh(), watch.refresh(), watch.refresh()];
    open();
    await Promise.all([first, ...others]);
    expect([[...watch.queues], state.reads]).toEqual([['slow'], 2]);
  });

  test('do not keep a worker from starting when the broker does not answer, and hold once it does', async () => {
    const { watch, state, clock, told } = watching([queue('slow')]);
    let open: () => void = () => {};
    state.gate = new Promise((resolve) => (open = resolve));
    let started = false;
    const starting = watch.start().then(() => (started = true));
    clock.advance(4_999);
    expect(started).toBe(false);
    clock.advance(1);
    await starting;
    expect([...watch.queues]).toEqual([]);
    open();
    await watch.refresh();
    expect(told).toEqual([['slow']]);
  });

  test('are looked at every five minutes, in case a broadcast was missed, and not after the end', async () => {
    const { watch, state, clock } = watching([]);
    await watch.start();
    clock.advance(299_999);
    expect(state.reads).toBe(1);
    clock.advance(1);
    expect(state.reads).toBe(2);
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(300_000);
    expect(state.reads).toBe(3);
    watch.close();
    clock.advance(900_000);
    expect(state.reads).toBe(3);
  });
});
