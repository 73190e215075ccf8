/** Beside Python on the same queues: kombu's sweep leaves live messages alone, and can restore what we leave behind. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { crashRedisBroker } from '../../src/brokers/redis/index.js';
import { Collector, outgoing, send, sendIds, untilWall } from '../../src/testing/conformance/broker-kit.js';
import { PYTHONS } from '../support/celery.js';
import { redisSuite } from './redis-kit.js';

/** kombu in a process of its own; one answer a line. */
class Kombu {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: ((answer: string) => void)[] = [];
  #errors = '';

  constructor(python: string, url: string, visibilityTimeoutS: number, prefix = '') {
    this.#child = spawn(python, [
      fileURLToPath(new URL('python_side.py', import.meta.url)),
      url,
      String(visibilityTimeoutS),
      prefix,
    ]);
    this.#child.stderr.on('data', (chunk: Buffer) => (this.#errors = (this.#errors + chunk.toString()).slice(-2_000)));
    this.#child.on('exit', () =>
      this.#waiting.splice(0).forEach((answer) => answer(`"kombu ended: ${JSON.stringify(this.#errors).slice(1, -1)}"`)),
    );
    createInterface(this.#child.stdout).on('line', (line) => this.#waiting.shift()?.(line));
  }

  async ask(request: object): Promise<unknown> {
    const line = new Promise<string>((resolve) => this.#waiting.push(resolve));
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return JSON.parse(await line);
  }

  end(): void {
    this.#child.kill('SIGKILL');
  }
}

function missing(python: string): string | null {
  const probe = spawnSync(python, ['-c', 'import kombu, redis'], { stdio: 'ignore' });
  return probe.status === 0 ? null : `${python} has no kombu (npm run setup:servers)`;
}

describe.each(Object.entries(PYTHONS))('with the kombu of Celery %s', (_version, python) => {
  const why = missing(python);
  if (why !== null) {
    test.skipIf(process.env['CI'] !== 'true')(`is not run: ${why}`, () => expect(why).toBeNull());
    return;
  }

  redisSuite('Redis shared with Python', (kit) => {
    const open: Kombu[] = [];
    const kombu = (visibilityTimeoutS: number, prefix = ''): Kombu => {
      const opened = new Kombu(python, kit.server.url, visibilityTimeoutS, prefix);
      open.push(opened);
      return opened;
    };
    afterEach(() => open.splice(0).forEach((one) => one.end()));

    test('keeps what it holds through kombu’s sweep, however short the visibility timeout', async () => {
      const collector = await Collector.open(await kit.broker(), { live: 5 }, { leaseMs: 3_000 });
      await sendIds(await kit.broker(), 'live', ['a', 'b']);
      await collector.got(2);
      const python = kombu(0);
      for (let round = 0; round < 5; round += 1) {
        expect(await python.ask({ restore: true })).toBe(true);
        await untilWall(Date.now() + 250);
      }
      expect(await kit.admin.llen('live')).toBe(0);
      expect(await collector.settle(...collector.arrivals.map((arrival) => ({ kind: 'ack', arrival }) as const))).toEqual([
        'held',
        'held',
      ]);
    });

    test('lets Python restore what a dead TypeScript fleet held, each priority to a list that is read', async () => {
      const dying = await kit.broker();
      const collector = await Collector.open(dying, { orphan: 5 }, { leaseMs: 300 });
      await send(dying, [
        outgoing('orphan', 'plain'),
        { ...outgoing('orphan', 'low'), priority: 2 },
        { ...outgoing('orphan', 'high'), priority: 9 },
      ]);
      await collector.got(3);
      await crashRedisBroker(dying);
      await untilWall(Date.now() + 500);
      const python = kombu(0);
      expect(await python.ask({ restore: true })).toBe(true);
      const got = [];
      for (let count = 0; count < 3; count += 1) got.push(await python.ask({ get: 'orphan' }));
      expect(got.map((message) => (message as { id: string } | null)?.id).sort()).toEqual(['high', 'low', 'plain']);
      expect(got).toEqual([
        expect.objectContaining({ redelivered: true }),
        expect.objectContaining({ redelivered: true }),
        expect.objectContaining({ redelivered: true }),
      ]);
      expect(await kit.admin.exists('unacked', 'unacked_index')).toBe(0);
    });

    test('leaves alone what Python holds', async () => {
      // as kombu files it: score = now, a tag of its own
      await kit.admin.hset(
        'unacked',
        'py-tag',
        '[{"body": "W10=", "headers": {"id": "py", "task": "t"}, "properties": {"delivery_tag": "py-tag", "delivery_info": {"exchange": "", "routing_key": "shared"}}}, "", "shared"]',
      );
      await kit.admin.zadd('unacked_index', Date.now() / 1_000 - 100, 'py-tag');
      const collector = await Collector.open(await kit.broker(), { shared: 5 }, { leaseMs: 300 });
      await sendIds(await kit.broker(), 'shared', ['mark']);
      await untilWall(Date.now() + 1_000);
      await collector.got(1);
      expect(await kit.admin.hexists('unacked', 'py-tag')).toBe(1);
    });

    test('exchanges messages both ways, handed back ones and a prefix included', async () => {
      const url = `${kit.server.url}?prefix=estate:`;
      const python = kombu(3_600, 'estate:');
      await python.ask({ put: 'both', id: 'from-python', options: { priority: 4 } });
      const broker = await kit.broker(url);
      const collector = await Collector.open(broker, { both: 5 });
      await collector.got(1);
      expect(collector.ids).toEqual(['from-python']);
      await collector.consumer.close({ timeoutMs: 5_000 });
      expect(await python.ask({ get: 'both' })).toMatchObject({ id: 'from-python', redelivered: true });
      await sendIds(broker, 'both', ['from-us ünï']);
      expect(await python.ask({ get: 'both' })).toMatchObject({ id: 'from-us ünï', redelivered: null });
    });
  });
});
