/** What the intake does before a task may start: whose death would count, and what must not start at all. */
import { describe, expect, test } from 'vitest';
import type { Delivery, Settlement } from '../../brokers/broker.js';
import { systemClock } from '../../core/clock.js';
import { silentLogger } from '../../core/logger.js';
import { LOSSES_HEADER, RESENT_HEADER } from '../../wire/own-headers.js';
import { encodeTaskMessage } from '../../wire/task-message.js';
import type { TaskFacts } from '../port.js';
import { withHeader } from './admission.js';
import { Intake, type IntakeOptions } from './consumer.js';
import { PauseWatch } from './control/pauses.js';
import { RateLimits } from './control/rate-limits.js';
import { Revoked } from './control/revoked.js';
import { type ActiveRun, newCounters } from './state.js';

const FACTS: TaskFacts = {
  name: 'known',
  ack: 'late',
  ignoreResult: false,
  resultTtlMs: null,
  trackStarted: false,
  endlessRetry: false,
  softTimeLimitMs: null,
  timeLimitMs: null,
  rateLimit: null,
};

const MESSAGE = encodeTaskMessage({ task: 'known', id: 'a', args: [], kwargs: {} }, { nowMs: Date.now() });

/** An intake whose surroundings write down what they are asked. */
function intake(secured: boolean, facts: Partial<TaskFacts> = {}) {
  const events: string[] = [];
  let answer: () => void = () => undefined;
  const asked = new Promise<void>((resolve) => (answer = resolve));
  const known = new Map([['known', { ...FACTS, ...facts }]]);
  const state = { held: true, placed: (): void => {} };
  const executors = {
    slots: 4,
    alone: {
      isFree: true,
      onFree: () => {},
      before: (_run: ActiveRun): Promise<boolean> | null => null,
      take: () => executors.alone.isFree,
      leave: () => events.push('leave alone'),
    },
    dispatch(run: ActiveRun) {
      events.push(run.alone ? 'wait' : 'start');
      // its executor is empty when the test says so
      if (run.alone) state.placed = () => void executors.alone.before(run)?.then((mayStart) => mayStart && events.push('start'));
    },
    withdraw: () => events.push('withdraw') > 0,
  };
  const consumer = {
    holds: () => state.held,
    settle: async () => {
      events.push('ack');
      return ['held'];
    },
    async secure() {
      events.push('secure');
      await asked;
      events.push('secured');
      return secured;
    },
  };
  const options = {
    broker: { capabilities: {} },
    store: {
      claim: async () => {
        events.push('claim');
        return { epoch: 2 };
      },
    },
    consumer: () => consumer,
    executors,
    active: new Map(),
    facts: known,
    limits: new RateLimits(known),
    revoked: new Revoked({ records: null, isTold: true, clock: systemClock, onChange: () => {}, onHeard: () => {} }),
    pauses: new PauseWatch({ broker: {} as never, clock: systemClock, logger: silentLogger }),
    settler: { withoutResult: ({ kind }: Settlement) => events.push(kind) },
    counters: newCounters(),
    logger: silentLogger,
    taskLog: { again: () => {} },
    events: { on: false },
    clock: systemClock,
    softTimeLimitMs: null,
    timeLimitMs: null,
    unknownTaskPatienceMs: 1_000,
    claimTtlMs: 1_000,
    grant: () => events.push('grant'),
  } as unknown as IntakeOptions;
  const subject = new Intake(options);
  return {
    events,
    answer,
    state,
    executors,
    stop: () => subject.stop(),
    async takes(more: Partial<Delivery>) {
      subject.arrivals([{ kind: 'delivery', tag: 't', queue: 'q', message: MESSAGE, redelivered: false, losses: 0, ...more }]);
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

describe('before a task starts', () => {
  test.each<[string, Partial<Delivery>]>([
    ['was delivered before', { redelivered: true }],
    ['has a loss', { losses: 1 }],
    ['lost an executor', { message: withHeader(MESSAGE, LOSSES_HEADER, 1) }],
  ])('a delivery that %s is claimed in the store, then secured at the broker, and waits for that', async (_, more) => {
    const { events, answer, takes } = intake(true);
    await takes(more);
    expect(events).toEqual(['claim', 'secure']);
    answer();
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual(['claim', 'secure', 'secured', 'start']);
  });

  test.each<[string, Partial<Delivery>, string[]]>([
    ['a first delivery costs nothing', {}, ['start']],
    ['one sent again under its id is nobody else’s', { message: withHeader(MESSAGE, RESENT_HEADER, true) }, ['claim', 'start']],
  ])('%s: nothing is secured', async (_, more, expected) => {
    const { events, takes } = intake(true);
    await takes(more);
    expect(events).toEqual(expected);
  });

  test('what is acked early cannot be lost twice, so it is not secured', async () => {
    const { events, takes } = intake(true, { ack: 'early' });
    await takes({ redelivered: true });
    expect(events).toEqual(['claim', 'ack', 'start']);
  });

  test('what the broker says must not start gives back its credit and the place of a run alone', async () => {
    const { events, answer, state, takes } = intake(false);
    answer();
    await takes({ redelivered: true, losses: 2 });
    state.held = false;
    state.placed();
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual(['claim', 'wait', 'secure', 'secured', 'withdraw', 'grant']);
  });

  test('what may not start because the worker stops goes back at once, and not at the end of its grace', async () => {
    const { events, answer, takes } = intake(false);
    answer();
    await takes({ redelivered: true });
    expect(events).toEqual(['claim', 'secure', 'secured', 'requeue', 'grant']);
  });

  test('a stop while it is claimed hands it back as soon as that is done', async () => {
    const { events, answer, stop, takes } = intake(true);
    await takes({ redelivered: true });
    stop();
    answer();
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual(['claim', 'secure', 'secured', 'requeue', 'grant']);
  });

  test('a stop hands back those that wait for their turn alone', async () => {
    const { events, executors, stop, takes } = intake(true);
    executors.alone.isFree = false;
    await takes({ losses: 2 });
    stop();
    expect(events).toEqual(['requeue']);
    executors.alone.isFree = true;
    executors.alone.onFree();
    expect(events).toEqual(['requeue']);
  });

  test('one that must run alone is secured when its executor is empty, and not while it waits for that', async () => {
    const { events, answer, state, takes } = intake(true);
    await takes({ losses: 2 });
    expect(events).toEqual(['claim', 'wait']);
    state.placed();
    expect(events).toEqual(['claim', 'wait', 'secure']);
    answer();
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual(['claim', 'wait', 'secure', 'secured', 'start']);
  });

  test('one that must run alone waits here for its turn, and is claimed only then', async () => {
    const { events, answer, executors, takes } = intake(true);
    answer();
    executors.alone.isFree = false;
    await takes({ losses: 2 });
    expect(events).toEqual([]);
    executors.alone.isFree = true;
    executors.alone.onFree();
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual(['claim', 'wait']);
  });

  test('one that was lost while it waited leaves its credit and nothing else', async () => {
    const { events, executors, state, takes } = intake(true);
    executors.alone.isFree = false;
    await takes({ losses: 2 });
    executors.alone.isFree = true;
    state.held = false;
    executors.alone.onFree();
    expect(events).toEqual(['grant']);
  });

  test('beyond the rate limit of its task it goes back to the delay store and keeps nothing: neither its slot nor the place of a run alone', async () => {
    const { events, takes } = intake(true, { rateLimit: '1/m' });
    await takes({});
    await takes({});
    await takes({ losses: 2 });
    expect(events).toEqual(['start', 'defer', 'grant', 'leave alone', 'defer', 'grant']);
  });
});
