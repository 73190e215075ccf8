import { expect, test, vi } from 'vitest';
import type { Session } from './session.js';
import { Watchdog, type WatchdogOptions } from './watchdog.js';

/** A watchdog whose clock stands where the test puts it, and what it did. */
function setUp(
  ready: number,
  session: Partial<Session> = {},
): { watchdog: Watchdog; rebuilt: string[]; asked: string[]; look(times: number): Promise<void> } {
  const rebuilt: string[] = [];
  const asked: string[] = [];
  const answering = { open: true, held: new Map(), ping: async () => undefined, ...session } as unknown as Session;
  const options: WatchdogOptions = {
    session: () => answering,
    hungry: () => ['a', 'b'],
    ready: async (queue) => {
      asked.push(queue);
      return ready;
    },
    abandon: () => undefined,
    rebuild: (queue) => rebuilt.push(queue),
  };
  const watchdog = new Watchdog(options);
  watchdog.close(); // looks only when it is told to
  const look = async (times: number): Promise<void> => {
    for (let each = 0; each < times; each += 1) {
      watchdog.lastAliveMs = performance.now() - 60_000;
      await watchdog.look();
    }
  };
  return { watchdog, rebuilt, asked, look };
}

test('messages that wait and do not come make a new subscription, at the second look that finds them', async () => {
  const { rebuilt, asked, look } = setUp(5);
  await look(3);
  expect([asked, rebuilt]).toEqual([['a'], []]);
  await look(1);
  expect([asked, rebuilt]).toEqual([['a', 'a'], ['a']]);
});

test('a cure that does not help gets rarer, until a message comes', async () => {
  const { rebuilt, look, watchdog } = setUp(5);
  await look(200);
  // every third look finds a suspect, and patience doubles: 4, 5, 7, 11, 19, 35 and 67 looks
  expect(rebuilt.length).toBe(7);
  watchdog.delivered();
  await look(4);
  expect(rebuilt.length).toBe(8);
});

test('empty queues are asked in turn, one at every third look, and nothing is made again', async () => {
  const { rebuilt, asked, look } = setUp(0);
  await look(12);
  expect([asked, rebuilt]).toEqual([['a', 'b', 'a', 'b'], []]);
});

test('a worker that holds deliveries keeps its channel', async () => {
  const { rebuilt, asked, look } = setUp(5, { held: new Map([['tag', {}]]) as unknown as Session['held'] });
  await look(12);
  expect([asked, rebuilt]).toEqual([[], []]);
});

test('asks nothing while messages come', async () => {
  const ping = vi.fn(async () => undefined);
  const { watchdog, asked } = setUp(5, { ping });
  watchdog.delivered();
  await watchdog.look();
  expect([ping.mock.calls.length, asked]).toEqual([0, []]);
});

test('a question that nobody answers within five seconds ends the connection', async () => {
  vi.useFakeTimers();
  try {
    const causes: string[] = [];
    const session = { open: true, held: new Map(), ping: () => new Promise<void>(() => undefined) } as unknown as Session;
    const watchdog = new Watchdog({
      session: () => session,
      hungry: () => [],
      ready: async () => 0,
      abandon: ({ message }) => causes.push(message),
      rebuild: () => undefined,
    });
    await vi.advanceTimersByTimeAsync(20_000);
    expect(causes).toEqual([]);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(causes).toEqual(['the broker did not answer a question for 5 s']);
    watchdog.close();
  } finally {
    vi.useRealTimers();
  }
});

test('asks after two quiet seconds where messages came a moment ago, and after nineteen where there were none', async () => {
  const ping = vi.fn(async () => undefined);
  const { watchdog } = setUp(0, { ping });
  const quietFor = async (ms: number): Promise<number> => {
    watchdog.lastAliveMs = performance.now() - ms;
    await watchdog.look();
    return ping.mock.calls.length;
  };
  expect(await quietFor(18_000)).toBe(0);
  expect(await quietFor(20_000)).toBe(1);
  watchdog.delivered();
  expect(await quietFor(1_000)).toBe(1);
  expect(await quietFor(3_000)).toBe(2);
});

test('asks nothing more while an answer is awaited', async () => {
  let answer = (): void => {};
  const ping = vi.fn(() => new Promise<undefined>((resolve) => (answer = () => resolve(undefined))));
  const { watchdog } = setUp(0, { ping });
  watchdog.lastAliveMs = performance.now() - 60_000;
  const first = watchdog.look();
  await watchdog.look();
  expect(ping).toHaveBeenCalledTimes(1);
  answer();
  await first;
  watchdog.lastAliveMs = performance.now() - 60_000;
  void watchdog.look();
  expect(ping).toHaveBeenCalledTimes(2);
  answer();
});
