/**
 * Drill 3: each way in which a worker can end, under a real supervisor with the settings that we recommend. A worker that dies of
 * an error and says 0, or one that is started again and again as fast as it dies, is how teams find out weeks later.
 */
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { startRedis } from '../tests/support/redis-server.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { type Program, Supervisord } from './harness/supervisord.js';
import { until } from './harness/wait.js';

const LOVAGE = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const app = (name: string): string => fileURLToPath(new URL(`./apps/${name}.ts`, import.meta.url));

/** One way to end. */
interface Ending {
  readonly name: string;
  readonly flags: readonly string[];
  readonly app?: string;
  /** A task that brings it about. */
  readonly task?: string;
  /** The operator asks it to stop, once the task has begun or it is ready. */
  readonly asked?: true;
  readonly code: number;
  /** The cause, in the message of the last log line of the first end. */
  readonly says: RegExp;
  /** Further fields of that line. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

function endings(refusing: string, secret: string): Ending[] {
  return [
    {
      name: 'drained',
      flags: [],
      asked: true,
      code: 0,
      says: /^worker stopped$/,
      fields: { handedBack: 0, handBackFailed: false },
    },
    {
      ...{ name: 'deadline', flags: ['--grace', '1s'], task: 'endings.hold', asked: true, code: 0 },
      ...{ says: /^worker stopped$/, fields: { handedBack: 1, handBackFailed: false } },
    },
    { name: 'wrong-usage', flags: ['--no-such-flag'], code: 2, says: /unknown option '--no-such-flag'/ },
    { name: 'bad-config', flags: ['--lease', '1ms'], code: 78, says: /lease is 1ms: it must be at least 1s/ },
    { name: 'bad-app-file', flags: [], app: './no-such-file.ts', code: 65, says: /no-such-file\.ts does not exist/ },
    {
      name: 'crash-at-import',
      flags: [],
      app: app('broken'),
      code: 65,
      says: /TypeError: the settings of this app are not there/,
    },
    { name: 'broker-gone', flags: ['--broker', refusing, '--connect-tries', '2'], code: 69, says: /127\.0\.0\.1/ },
    { name: 'auth-refused', flags: ['--broker', secret], code: 77, says: /refused|password|credentials/i },
    {
      name: 'blocked-loop',
      flags: ['--time-limit', '1s'],
      task: 'endings.block',
      code: 70,
      says: /endings\.block .* native call/,
    },
    { name: 'uncaught', flags: ['--pool', 'async'], task: 'endings.throwLater', code: 1, says: /RangeError: from a timer/ },
    { name: 'exit-zero', flags: ['--pool', 'async'], task: 'endings.exit', code: 1, says: /process\.exit\(0\) was called/ },
  ];
}

/** No restart storm: a start that fails at once is tried three times more, and what runs a while is not started oftener than this. */
const STARTS_A_MINUTE = 13;

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The last line of the first life, as the supervisor kept it: JSON, or what the command line prints. */
function lastLine(
  output: string,
  code: number,
): { readonly message: string; readonly fields: Readonly<Record<string, unknown>> } {
  const lines = output.split('\n').filter((line) => line !== '');
  if (code === 2) return { message: lines.slice(0, 1).join(), fields: {} };
  const last = lines.find((line) => (code === 0 ? line.includes('"worker stopped"') : line.includes(`"exitCode":${code}`)));
  const { msg = '', ...fields } = JSON.parse(last ?? '{}') as { msg?: string };
  return { message: msg, fields };
}

function claimEnding(kit: Kit, supervisor: Supervisord, ending: Ending, minutes: number): void {
  const { name, code, says, asked, fields: wanted = {} } = ending;
  const ends = supervisor.ends(name);
  const output = supervisor.output(name);
  kit.claim(`${name}: how it ended, each time`, [...new Set(ends.map(({ how }) => how))].join(' '), { equals: String(code) });
  const { message, fields } = lastLine(output, code);
  kit.claim(`${name}: the last log line names the cause`, says.test(message) || message, { equals: true });
  if (code !== 0 && code !== 2) kit.claim(`${name}: and what to do`, typeof fields['remedy'] === 'string', { equals: true });
  for (const [field, value] of Object.entries(wanted))
    kit.claim(`${name}: ${field}`, fields[field] as number, { equals: value as number });
  if (asked) kit.claim(`${name}: starts`, supervisor.starts(name), { equals: 1 });
  else
    kit.claim(`${name}: starts in ${Math.round(minutes * 60)} s`, supervisor.starts(name), {
      atMost: Math.ceil(4 + STARTS_A_MINUTE * minutes),
    });
}

export const drill: Drill = {
  name: 'exit-codes',
  scenario:
    'Eleven ways to end, each by a worker of its own under supervisord with the settings of our example: asked to stop, wrong flags, configuration or app file, broker gone, credentials refused, a blocked process, exceptions that nobody catches.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['redis'],
  async run(kit) {
    const { broker, folder, size } = kit;
    const secret = await startRedis({ args: ['--requirepass', 'secret'] });
    const all = endings(`redis://127.0.0.1:${await closedPort()}/0`, secret.url);
    const scenes = new Map(all.flatMap(({ name, task }) => (task ? [[name, new Scene(kit, name, '5s')] as const] : [])));
    const program = ({ name, flags, app: file = app('endings') }: Ending): Program => ({
      name,
      command: [
        ...[process.execPath, LOVAGE, 'worker', '--app', file, '--broker', broker.brokerUrl, '--results', broker.resultUrl],
        ...['--queues', name, '--lease', '5s', '--name', `${name}@%h`, '--log-format', 'json', '--threads', '1', ...flags].filter(
          (word, index, words) => !(flags.includes('async') && (word === '--threads' || words[index - 1] === '--threads')),
        ),
      ],
    });
    const beganMs = Date.now();
    const supervisor = await Supervisord.start(folder, all.map(program));
    try {
      for (const ending of all.filter(({ task, asked }) => task !== undefined || asked)) {
        await until(() => supervisor.output(ending.name).includes('worker ready'), `${ending.name} is ready`, 60_000);
        const id = await scenes.get(ending.name)?.sender.send(ending.task as string);
        if (!ending.asked) continue;
        if (id) await until(() => supervisor.output(ending.name).includes('"msg":"began"'), 'the task has begun');
        supervisor.stop(ending.name);
      }
      for (const { name, asked } of all) {
        if (!asked) await until(() => supervisor.ends(name).length > 0, `${name} has ended`, 60_000);
      }
      const fast = ['wrong-usage', 'bad-config', 'bad-app-file', 'crash-at-import', 'auth-refused'];
      const resting = (): boolean => fast.every((name) => ['FATAL', 'EXITED'].includes(supervisor.state(name)));
      await until(resting, 'what cannot start is left alone', 90_000);
      const watchMs = size === 'full' ? 60_000 : 5_000;
      const endMs = Date.now() + watchMs;
      const before = fast.map((name) => supervisor.starts(name)).join();
      await until(() => Date.now() >= endMs, 'the time to watch is over', watchMs + 10_000);
      const minutes = (Date.now() - beganMs) / 60_000;
      for (const ending of all) claimEnding(kit, supervisor, ending, minutes);
      kit.claim(
        `what cannot start stays down for ${watchMs / 1_000} s`,
        fast.map((name) => supervisor.starts(name)).join() === before,
        { equals: true },
      );
      const zeros = all.filter(({ name }) => supervisor.ends(name).some(({ how }) => how === '0')).map(({ name }) => name);
      kit.claim('ended with 0: only who was asked to stop', zeros.join(' '), { equals: 'drained deadline' });
      kit.figure(
        'starts in all',
        all.reduce((sum, { name }) => sum + supervisor.starts(name), 0),
      );
    } finally {
      await supervisor.close();
      for (const scene of scenes.values()) await scene.close();
      await secret.stop();
    }
  },
};
