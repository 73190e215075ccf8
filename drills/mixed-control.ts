/** The second half of the drill mixed-fleet: who sees and steers whom. Celery's command line and our `app.control` ask all workers, either revokes for the other's, and both hear the events of all. */
import { fileURLToPath } from 'node:url';
import type { ControlAnswers } from 'lovage';
import { CeleryCli } from '../tests/interop/celery-cli.js';
import type { PythonClient, startPythonWorker } from '../tests/support/celery.js';
import { PythonProgram } from '../tests/support/python-program.js';
import type { Kit, Scene } from './harness/scene.js';
import { until } from './harness/wait.js';
import type { Fleet } from './harness/workers.js';

const MONITOR = fileURLToPath(new URL('../tests/interop/events_monitor.py', import.meta.url));
/** The queues of each language. */
export const QUEUES = { ours: 'ours', theirs: 'theirs' } as const;
export type Language = keyof typeof QUEUES;
const EXTRA_QUEUE = 'extra';
/** Only somebody who waits it out although all have answered would need it. */
const PATIENT = { timeout: '10s' } as const;
const CELERY_PATIENT = '10';
/** Tasks of each language whose events are awaited. */
const WATCHED = 20;

type Version = '5.2' | '5.6';

/** Everything that the estate consists of. */
export interface Estate {
  readonly kit: Kit;
  readonly scene: Scene;
  readonly fleet: Fleet;
  readonly clients: ReadonlyMap<Version, PythonClient>;
  readonly pythons: readonly Awaited<ReturnType<typeof startPythonWorker>>[];
}

const INSPECT: readonly (readonly string[])[] = [
  ...[
    'ping',
    'active',
    'active_queues',
    'clock',
    'conf',
    'registered',
    'report',
    'reserved',
    'revoked',
    'scheduled',
    'stats',
  ].map((command) => [command]),
  ['query_task', 'nobody'],
];
const CONTROL: readonly (readonly string[])[] = [
  ['rate_limit', 'mixed.add', '1000/s'],
  ['rate_limit', 'mixed.add', '0'],
  ['time_limit', 'mixed.add', '60', '120'],
  ['pool_grow', '1'],
  ['pool_shrink', '1'],
  ['add_consumer', EXTRA_QUEUE],
  ['enable_events'],
];

const listed = (names: readonly string[]): string => names.join(', ') || 'none';

/** Celery's command line asks all of them by name; commands to which one gave no answer, or refused. */
async function unanswered(cli: CeleryCli, kind: 'inspect' | 'control', nodes: readonly string[], commands: typeof INSPECT) {
  const missing: string[] = [];
  for (const [command = '', ...args] of commands) {
    const { code, output } = await cli.run(
      ...[kind, '--json', '--timeout', CELERY_PATIENT, '--destination', nodes.join(','), command, ...args],
    );
    const line = output.split('\n').find((text) => /^[[{]/.test(text)) ?? '{}';
    const parsed: unknown = JSON.parse(line);
    const answers = (Array.isArray(parsed) ? Object.assign({}, ...(parsed as object[])) : parsed) as Record<string, unknown>;
    const silent = nodes.filter((node) => {
      const answer = answers[node];
      if (answer === undefined) return true;
      return kind === 'control' && typeof (answer as { readonly ok?: unknown } | null)?.ok !== 'string';
    });
    if (code !== 0 || silent.length > 0) missing.push(`${command} (${code}: ${silent.join(' ')})`);
  }
  return listed(missing);
}

async function byCelery({ kit, scene, pythons, fleet }: Estate, versions: readonly Version[]): Promise<readonly string[]> {
  const { brokerUrl } = kit.broker;
  const everybody = fleet.workers.length + pythons.length;
  let nodes: string[] = [];
  const { app } = scene.sender;
  for (const version of versions) {
    const cli = new CeleryCli(version, brokerUrl);
    try {
      await cli.start();
      const { output } = await cli.run('status', '--timeout', '2');
      nodes = [...output.matchAll(/^->\s+(\S+): OK$/gm)].map(([, name]) => name as string);
      kit.claim(`celery ${version} status: nodes`, nodes.length, { equals: everybody });
      kit.claim(
        `celery ${version} inspect: commands without an answer of each`,
        await unanswered(cli, 'inspect', nodes, INSPECT),
        {
          equals: 'none',
        },
      );
      kit.claim(`celery ${version} control: commands that one did not follow`, await unanswered(cli, 'control', nodes, CONTROL), {
        equals: 'none',
      });
      const extra = app.remote<[number, number], number>('mixed.add', { queue: EXTRA_QUEUE });
      const sums = await Promise.all(
        Array.from({ length: WATCHED }, async (_, index) => (await extra.send(index, 1)).result({ timeout: '20s' })),
      );
      kit.claim(
        `celery ${version} control add_consumer: tasks of that queue that were run`,
        sums.filter((sum, index) => sum === index + 1).length,
        { equals: WATCHED },
      );
      await unanswered(cli, 'control', nodes, [['cancel_consumer', EXTRA_QUEUE]]);
      const id = `revoked-by-${version}`;
      await cli.run('control', '--timeout', CELERY_PATIENT, '--destination', nodes.join(','), 'revoke', id);
      await claimRevoked(scene, kit, id, 'ours', `celery ${version} control revoke`);
    } finally {
      await cli.close();
    }
  }
  return nodes;
}

/** Sends a task under an id that was revoked before. */
async function claimRevoked(
  { sender }: Estate['scene'],
  { claim }: Estate['kit'],
  id: string,
  where: Language,
  what: string,
): Promise<void> {
  const task = sender.app.remote<[number, number], number>('mixed.add', { queue: QUEUES[where] });
  const handle = await task.with({ id }).send(1, 1);
  await handle.result({ timeout: '20s' }).catch(() => undefined);
  claim(`${what}: state of the task, in a queue of ${where}`, await handle.state(), { equals: 'REVOKED' });
}

async function byOurs({ kit, scene }: Estate, nodes: readonly string[]): Promise<void> {
  const { control } = scene.sender.app;
  const missing: string[] = [];
  const all = <T>(command: string, { answers, errors }: ControlAnswers<T>): void => {
    const silent = nodes.filter((node) => !answers.has(node));
    if (silent.length + errors.size > 0) missing.push(`${command} (${[...silent, ...errors.keys()].join(' ')})`);
  };
  // RabbitMQ's first question waits for its timeout; from then on the nodes are known.
  all('ping', await control.ping({ timeout: '3s' }));
  const beganMs = performance.now();
  all('ping again', await control.ping(PATIENT));
  const tookMs = performance.now() - beganMs;
  all('active', await control.active(PATIENT));
  all('active_queues', await control.activeQueues(PATIENT));
  all('registered', await control.registered([], PATIENT));
  all('stats', await control.stats(PATIENT));
  all('conf', await control.conf(PATIENT));
  all('report', await control.report(PATIENT));
  all('rate_limit', await control.rateLimit('mixed.add', '1000/s', PATIENT));
  all('rate_limit 0', await control.rateLimit('mixed.add', 0, PATIENT));
  all('pool_grow', await control.poolGrow(1, PATIENT));
  all('pool_shrink', await control.poolShrink(1, PATIENT));
  all('add_consumer', await control.addConsumer(EXTRA_QUEUE, PATIENT));
  all('cancel_consumer', await control.cancelConsumer(EXTRA_QUEUE, PATIENT));
  all('enable_events', await control.enableEvents(PATIENT));
  kit.claim('app.control: commands that one did not answer', listed(missing), { equals: 'none' });
  kit.claim('app.control: a ping returns when all have answered', tookMs, { atMost: 2_000 }, 'ms');
  const id = 'revoked-by-ours';
  await control.revoke(id);
  // told to those who listen: Python answers a question behind it when it has heard it
  await control.ping(PATIENT);
  await claimRevoked(scene, kit, id, 'theirs', 'app.control.revoke');
}

/** Both kinds of monitors hear of the tasks of both kinds of workers. */
async function playEvents({ kit, scene }: Estate, versions: readonly Version[]): Promise<void> {
  const { app } = scene.sender;
  const stream = app.events({ types: ['task-succeeded'] });
  const heard = new Set<string>();
  const reading = (async () => {
    for await (const { uuid } of stream) if (typeof uuid === 'string' && heard.size < 100_000) heard.add(uuid);
  })();
  const monitors = versions.map((version) => new PythonProgram(version, [MONITOR, kit.broker.brokerUrl]));
  try {
    await stream.ready;
    for (const monitor of monitors)
      await until(() => monitor.hasEnded || monitor.lines.some((line) => line.includes('listening')), 'a monitor listens');
    await app.control.enableEvents(PATIENT);
    const ids: string[] = [];
    for (const queue of Object.values(QUEUES)) {
      const task = app.remote<[number, number], number>('mixed.add', { queue });
      for (const { id } of await task.sendMany(Array.from({ length: WATCHED }, () => ({ args: [1, 1] as [number, number] }))))
        ids.push(id);
    }
    const seenBy = (monitor: PythonProgram): number => {
      const ended = new Set(
        monitor.lines
          .filter((line) => line.includes('"task-succeeded"'))
          .map((line) => (JSON.parse(line) as { readonly uuid?: string }).uuid),
      );
      return ids.filter((id) => ended.has(id)).length;
    };
    const byUs = (): number => ids.filter((id) => heard.has(id)).length;
    await until(() => byUs() === ids.length && monitors.every((one) => seenBy(one) === ids.length), 'all were told').catch(
      () => undefined,
    );
    kit.claim('app.events(): tasks of both languages whose success was told', byUs(), { equals: ids.length });
    for (const [index, monitor] of monitors.entries()) {
      const name = `a monitor of Celery ${versions[index]}: tasks of both languages whose success was told`;
      kit.claim(name, seenBy(monitor), { equals: ids.length });
      if (monitor.hasEnded) kit.say(monitor.errors);
    }
  } finally {
    await Promise.all(monitors.map((monitor) => monitor.end()));
    await stream.close();
    await reading;
  }
}

export async function playControl(estate: Estate): Promise<void> {
  const versions = [...estate.clients.keys()];
  const nodes = await byCelery(estate, versions);
  await byOurs(estate, nodes);
  await playEvents(estate, versions);
}
