/**
 * `celery inspect` and `celery control` against a worker of ours, with a Python worker beside it: what they print for the one
 * they print for the other.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasCelery, PythonClient, startPythonWorker } from '../support/celery.js';
import { until } from '../worker/harness.js';
import { CeleryCli } from './celery-cli.js';
import { type Fleet, type FleetName, type OurWorker, openFleet, startOurWorker } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
const OURS = 'ours@suite';

/** What a Python worker says of its own machinery, and what says nothing of a value's form. */
const ONLY_PYTHON = new Set(['stats.pool.writes', 'stats.broker.credential_provider', 'stats.total', 'conf']);

/** Where the answers differ in form: a key that is missing, another kind of value. Keys that only ours has are no difference. */
function differences(ours: unknown, theirs: unknown, path: string): string[] {
  if (ONLY_PYTHON.has(path) || theirs === null || ours === null) return [];
  if (kindOf(ours) !== kindOf(theirs)) return [`${path}: ${kindOf(ours)}, and Python's is ${kindOf(theirs)}`];
  if (Array.isArray(ours) && Array.isArray(theirs))
    return ours.length > 0 && theirs.length > 0 ? differences(ours[0], theirs[0], `${path}[]`) : [];
  if (typeof theirs !== 'object') return [];
  return Object.entries(theirs).flatMap(([key, value]) => {
    const own = (ours as Record<string, unknown>)[key];
    if (own === undefined) return ONLY_PYTHON.has(`${path}.${key}`) ? [] : [`${path}.${key} is missing`];
    return differences(own, value, `${path}.${key}`);
  });
}

const kindOf = (value: unknown): string => (Array.isArray(value) ? 'array' : typeof value);

describe.each<FleetName>(['redis', 'rabbitmq with redis results'])('%s', (name) => {
  describe.each(VERSIONS)('Celery %s', (version) => {
    let fleet: Fleet;
    let ours: OurWorker;
    let python: Awaited<ReturnType<typeof startPythonWorker>>;
    let cli: CeleryCli;
    let client: PythonClient;
    let theirs: string;

    beforeAll(async () => {
      fleet = await openFleet(name);
      const options = ['--name', OURS, '--threads', '2', '--concurrency', '4'];
      ours = await startOurWorker(fleet, options, 'tests/interop/control-app.ts');
      python = await startPythonWorker(version, fleet.broker, fleet.results);
      cli = new CeleryCli(version, fleet.broker);
      expect(await cli.start()).toContain(version);
      client = new PythonClient(version, fleet.broker, fleet.results);
      await client.start();
      const answers = await cli.run('inspect', '--json', '--timeout', '3', 'ping');
      theirs = Object.keys(JSON.parse(answers.output) as object).find((node) => node !== OURS) as string;
      expect(theirs).toMatch(/^py/);
    }, 120_000);
    afterAll(async () => {
      await client?.close();
      await cli?.close();
      await ours?.stop();
      await python?.stop();
      await fleet?.close();
    }, 60_000);

    const ask = async (kind: 'inspect' | 'control', command: string, ...args: readonly string[]) => ({
      ours: await cli.answer(kind, OURS, command, ...args),
      theirs: await cli.answer(kind, theirs, command, ...args),
    });

    test('`celery status` and `inspect ping` list it among the nodes', async () => {
      const { output } = await cli.run('status', '--timeout', '3');
      expect(output).toContain(`->  ${OURS}: OK`);
      expect(output).toContain('2 nodes online.');
      const ping = await cli.run('inspect', '--timeout', '3', '--destination', OURS, 'ping');
      expect(ping).toEqual({ code: 0, output: `->  ${OURS}: OK\n        pong\n\n1 node online.\n`, failed: null });
    });

    test('tasks that run are shown alike, in full and by their ids', { timeout: 60_000 }, async () => {
      const sent = await client.ask({
        send: [
          { task: 'control.hold', args: [30], options: { queue: 'interop' } },
          { task: 'py.sleep', args: [30], options: { queue: 'python' } },
        ],
      });
      const [ourId = '', theirId = ''] = sent.ids ?? [];
      await until(
        async () => {
          const shown = await ask('inspect', 'active');
          return (shown.ours as unknown[]).length === 1 && (shown.theirs as unknown[]).length === 1;
        },
        'both run',
        20_000,
      );
      const shown = await ask('inspect', 'active');
      expect(differences(shown.ours, shown.theirs, 'active')).toEqual([]);
      expect(shown.ours).toMatchObject([{ id: ourId, type: 'control.hold', args: [30], hostname: OURS }]);
      const queried = {
        ours: (await cli.answer('inspect', OURS, 'query_task', ourId)) as Record<string, unknown>,
        theirs: (await cli.answer('inspect', theirs, 'query_task', theirId)) as Record<string, unknown>,
      };
      expect(differences(queried.ours[ourId], queried.theirs[theirId], 'query_task')).toEqual([]);
      const ended = {
        ours: await cli.answer('control', OURS, 'terminate', 'KILL', ourId),
        theirs: await cli.answer('control', theirs, 'terminate', 'KILL', theirId),
      };
      expect(ended).toEqual({ ours: { ok: `terminate: ${ourId}` }, theirs: { ok: `terminate: ${theirId}` } });
      await until(
        async () => ((await cli.answer('inspect', OURS, 'active')) as unknown[]).length === 0,
        'ours has ended',
        20_000,
      );
    });

    test.each([
      ['active_queues'],
      ['clock'],
      ['conf'],
      ['memsample'],
      ['registered'],
      ['report'],
      ['reserved'],
      ['revoked'],
      ['scheduled'],
      ['stats'],
    ])('`celery inspect %s` has the same form', async (command) => {
      const answers = await ask('inspect', command);
      expect(differences(answers.ours, answers.theirs, command)).toEqual([]);
      const { code, output } = await cli.run('inspect', '--timeout', '3', '--destination', OURS, command);
      expect(code).toBe(0);
      expect(output).toMatch(new RegExp(`^->  ${OURS}: OK`));
    });

    test.each([
      ['pool_grow', '1'],
      ['pool_shrink', '1'],
      ['pool_restart'],
      ['autoscale', '5', '2'],
      ['add_consumer', 'extra'],
      ['cancel_consumer', 'extra'],
      ['enable_events'],
      ['enable_events'],
      ['disable_events'],
      ['disable_events'],
      ['heartbeat'],
      ['rate_limit', 'nope', '10/m'],
      ['time_limit', 'nope', '1', '2'],
      ['terminate', 'TERM', 'unknown'],
      ['revoke', '00000000-0000-4000-8000-000000000001'],
    ])('`celery control %s %s %s` is answered in the same words', async (command, ...args) => {
      const answers = await ask('control', command, ...args.filter((arg) => arg !== undefined));
      // 5.2 joins the ids, later ones print a set
      if (command === 'revoke' && version === '5.2')
        expect(answers.ours).toEqual({ ok: "tasks {'00000000-0000-4000-8000-000000000001'} flagged as revoked" });
      else expect(answers.ours).toEqual(answers.theirs);
    });

    test('limits of its own tasks are changed', async () => {
      expect(await cli.answer('control', OURS, 'rate_limit', 'control.add', '10/m')).toEqual({
        ok: 'new rate limit set successfully',
      });
      expect(await cli.answer('control', OURS, 'time_limit', 'control.add', '60', '120')).toEqual({
        ok: 'time limits set successfully',
      });
      expect(await cli.answer('inspect', OURS, 'registered', 'rate_limit', 'time_limit', 'soft_time_limit')).toEqual([
        'control.add [rate_limit=10/m time_limit=120 soft_time_limit=60]',
        'control.hold',
      ]);
      expect(await cli.answer('control', OURS, 'rate_limit', 'control.add', '0')).toEqual({
        ok: 'rate limit disabled successfully',
      });
    });

    test("the app's own commands are answered", async () => {
      expect(await cli.answer('inspect', OURS, 'interop_double', '21')).toEqual({ doubled: 42 });
      expect(await cli.answer('control', OURS, 'interop_fail')).toEqual({ error: "RangeError('not today')" });
    });

    test('a Python worker that starts beside it is told what was revoked here', { timeout: 60_000 }, async () => {
      const id = '00000000-0000-4000-8000-00000000abcd';
      await cli.answer('control', OURS, 'revoke', id);
      const app = { folder: new URL('.', import.meta.url).pathname, module: 'pyworker', queue: 'python2' };
      await python.stop();
      const later = await startPythonWorker(version, fleet.broker, fleet.results, app);
      try {
        expect(later.log()).toMatch(/sync complete|sync with 1 nodes/);
        // it may say that it is ready a moment before it hears remote control
        const known = async (): Promise<unknown> => cli.answer('inspect', theirs, 'revoked').catch(() => []);
        await until(async () => ((await known()) as string[]).includes(id), 'it knows the id', 20_000);
      } finally {
        await later.stop();
      }
    });

    test('`celery control shutdown` stops it warmly, and nobody answers', { timeout: 60_000 }, async () => {
      const answer = await cli.run('control', '--timeout', '1', '--destination', OURS, 'shutdown');
      expect(answer.code).toBe(69);
      expect(await ours.stop()).toBe(0);
      expect(ours.log()).toContain('asked to stop by remote control');
    });
  });
});
