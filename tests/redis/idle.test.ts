/** What an idle consumer costs the server, and how it is woken. */
import { expect, test } from 'vitest';
import { Collector, sendIds, until, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { redisScenes, redisSuite } from './redis-kit.js';

redisScenes('an idle Redis consumer', (scene) => {
  for (const count of [1, 10]) {
    scene(
      `of ${count} queues looks once a lease and otherwise waits to be woken`,
      async (kit) => {
        const queues = Object.fromEntries(Array.from({ length: count }, (_, index) => [`idle${index}`, 4]));
        // a lease of one second shows in five seconds what one of 15 s does in 75
        const leaseMs = 1_000;
        const collector = await Collector.open(await kit.broker(), queues, { leaseMs });
        await until(() => collector.states.includes('connected'), 'the connection');
        await until(async () => (await kit.admin.exists('lovage:canary')) === 1, 'the canary');
        // and the look for delayed messages once the listening connection stands: the last that it sends at its start
        const scripts = async (): Promise<string> => /evalsha:calls=(\d+)/.exec(await kit.admin.info('commandstats'))?.[1] ?? '';
        for (let before = ''; before !== (await scripts()); await untilWall(Date.now() + leaseMs / 2)) before = await scripts();
        const commands = await kit.commandsDuring(() => untilWall(Date.now() + leaseMs * 5.5));
        // one sweep each lease and nothing else: with 15 s that is four a minute, and four pings of the listening connection
        expect(commands.length).toBeGreaterThanOrEqual(4);
        expect(commands.length).toBeLessThanOrEqual(7);
        expect(new Set(commands.map(([name]) => name))).toEqual(new Set(['evalsha']));
      },
      30_000,
    );
  }

  scene(
    'asks quiet connections every other second whether they live while there is work, and leaves it when there was none for long',
    async (kit) => {
      const collector = await Collector.open(await kit.broker(), { beating: 1 }, { leaseMs: 60_000 });
      await sendIds(await kit.broker(), 'beating', ['x']);
      await collector.got(1);
      await collector.ack(collector.delivery(0));
      const beats = async (): Promise<string[]> =>
        (await kit.commandsDuring(() => untilWall(Date.now() + 8_000)))
          .map(([name]) => name as string)
          .filter((name) => name === 'ping' || name === 'unlink');
      const working = await beats();
      expect(working.filter((name) => name === 'ping').length).toBeGreaterThanOrEqual(2);
      expect(working.filter((name) => name === 'unlink').length).toBeGreaterThanOrEqual(2);
      expect(working.length).toBeLessThanOrEqual(12);
      await untilWall(Date.now() + 9_000);
      // of each connection one at most: the next is due 15 and 20 s after the last
      expect((await beats()).length).toBeLessThanOrEqual(2);
    },
    60_000,
  );
});

redisSuite('an idle Redis consumer', (kit) => {
  test('renews only while it holds something', async () => {
    const collector = await Collector.open(await kit.broker(), { renewing: 1 }, { leaseMs: 900 });
    await sendIds(await kit.broker(), 'renewing', ['x']);
    await collector.got(1);
    const holding = await kit.commandsDuring(() => untilWall(Date.now() + 1_800));
    await collector.ack(collector.delivery(0));
    const idle = await kit.commandsDuring(() => untilWall(Date.now() + 1_800));
    expect(holding.length - idle.length).toBeGreaterThanOrEqual(4);
  });

  test('pops again at once when a message comes, whichever priority list it lands in', async () => {
    const sender = await kit.broker();
    const collector = await Collector.open(await kit.broker(), { waking: 100 });
    for (const priority of [undefined, 0, 3, 9, 6]) {
      const before = collector.arrivals.length;
      const results = await sender.publish(
        [
          {
            to: { queue: 'waking' },
            message: {
              contentType: 'application/json',
              contentEncoding: 'utf-8',
              headers: { id: 'x', task: 't' },
              properties: {},
              body: { encoding: 'utf8', data: '[]' },
            },
            ...(priority === undefined ? {} : { priority }),
          },
        ],
        { timeoutMs: 5_000 },
      );
      expect(results).toEqual([null]);
      // far sooner than the next look, which is 15 s away
      await collector.got(before + 1, 2_000);
    }
  });

  test('asks once for each message, and is not woken by what it takes itself', async () => {
    const sender = await kit.broker();
    const collector = await Collector.open(await kit.broker(), { single: 16 }, { acking: true, leaseMs: 60_000 });
    await sendIds(sender, 'single', ['warm-up']);
    await collector.got(1);
    // of the scripts only the pop names the queue's list among its keys
    const pops = (commands: readonly string[][]): number =>
      commands.filter(([name, ...words]) => name === 'evalsha' && words.includes('single')).length;
    // it also looks once when its listening connection stands, which may come after the first message
    await until(async () => pops(await kit.commandsDuring(() => untilWall(Date.now() + 500))) === 0, 'it waits');
    const commands = await kit.commandsDuring(async () => {
      for (let index = 0; index < 20; index += 1) {
        await sendIds(sender, 'single', [`m${index}`]);
        await collector.got(index + 2);
        await untilWall(Date.now() + 20);
      }
    });
    expect(pops(commands)).toBe(20);
  });

  test('uses three connections at most, whatever the number of queues', async () => {
    const [broker, results] = [await kit.broker(), await kit.results()];
    await Collector.open(broker, Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`many${index}`, 1])));
    await results.connect({ timeoutMs: 5_000 });
    await broker.connect({ timeoutMs: 5_000 });
    const names = async (): Promise<string[]> =>
      [...((await kit.admin.client('LIST')) as string).matchAll(/name=(lovage:\S+)/g)].map(([, name]) => name as string);
    await until(async () => (await names()).length >= 3, 'three connections');
    expect((await names()).sort()).toEqual(['lovage:commands', 'lovage:listening', 'lovage:results']);
  });

  test('is not stampeded: of ten idle consumers a single message costs a bounded number of pops', async () => {
    const collectors = await Promise.all(
      Array.from({ length: 10 }, async () => Collector.open(await kit.broker(), { crowd: 1 }, { acking: true })),
    );
    const sender = await kit.broker();
    await sendIds(sender, 'crowd', ['warm-up']);
    const arrived = (): number => collectors.reduce((sum, { arrivals }) => sum + arrivals.length, 0);
    await until(() => arrived() === 1, 'the first');
    const commands = await kit.commandsDuring(async () => {
      for (let index = 0; index < 20; index += 1) {
        await sendIds(sender, 'crowd', [`m${index}`]);
        await until(() => arrived() === index + 2, `message ${index}`);
      }
    });
    const scripts = commands.filter(([name]) => name === 'evalsha').length;
    expect(scripts).toBeLessThanOrEqual(20 * 10 * 2 + 20);
  });
});
