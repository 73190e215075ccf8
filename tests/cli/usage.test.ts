/** Help, wrong usage and the exit codes that need no broker. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { Project } from './run-cli.js';

const project = new Project();
afterAll(() => project.remove());

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

test('--version prints the version of the package', async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect(await project.run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
});

test('--help lists what is built, and nothing that is not', async () => {
  const { code, stdout } = await project.run(['--help']);
  expect(code).toBe(0);
  const commands = [.../^ {2}([a-z]+) /gm[Symbol.matchAll](stdout.split('Commands:')[1]?.split('Environment:')[0] ?? '')].map(
    ([, name]) => name,
  );
  expect(commands).toEqual([
    'worker',
    'beat',
    'schedule',
    'send',
    'result',
    'graph',
    'revoke',
    'queues',
    'purge',
    'dead',
    'inspect',
    'control',
    'events',
    'top',
    'report',
    'completion',
    'help',
  ]);
});

test.each([
  'worker',
  'send',
  'result',
  'queues list',
  'queues peek',
  'queues find',
  'queues remove',
  'queues move',
  'queues pause',
  'queues resume',
  'queues paused',
  'queues backup',
  'purge',
  'report',
  'dead list',
  'dead show',
  'dead replay',
  'dead purge',
  'completion',
])('%s --help has examples', async (command) => {
  const { code, stdout } = await project.run([...command.split(' '), '--help']);
  expect(code).toBe(0);
  expect(stdout).toContain(`\n  $ ${command === 'completion' ? 'source <(' : ''}lovage ${command}`);
});

describe('wrong usage exits 2 and says what to do', () => {
  test.each([
    [[], /Usage: lovage/],
    [['sned'], /unknown command 'sned'\n\(Did you mean send\?\)/],
    [['send', '--wiat', '5s'], /unknown option '--wiat'\n\(Did you mean --wait\?\)/],
    [['send'], /needs the name of a task/],
    [['send', 'a', '--file', 'b'], /not both/],
    [['send', '--file', 'x', '--queue', 'q'], /--queue belongs to a single task/],
    [['send', '--file', 'x', '--ignore-result'], /--ignore-result belongs to a single task/],
    [['send', 'a', '--dry-run'], /belong to --file/],
    [['send', 'a', '--args', '{"x":1}'], /JSON array, for example '\[2,3\]'/],
    [['send', 'a', '--args', '[1'], /JSON array/],
    [['send', 'a', '--kwargs', '[]'], /JSON object/],
    [['send', 'a', '--wait', '5'], /a number with its unit/],
    [['send', 'a', '--priority', '10'], /from 0 \(last\) to 9/],
    [['send', 'a', '--eta', '2030-01-01'], /ISO 8601 with a zone/],
    [['send', 'a', '--eta', '2030-01-01T00:00:00Z', '--countdown', '5s'], /cannot be used with/],
    [['send', 'a', '--header', 'novalue'], /name=value/],
    [['worker'], /needs an app file: --app/],
    [['worker', '--app', 'x.ts', '--pool', 'fibers'], /Allowed choices are threads, processes, async, inline/],
    [['worker', '--app', 'x.ts', '--threads', '0'], /whole number from 1/],
    [['queues'], /needs one of: list, peek, find, remove, move, pause, resume, paused, backup/],
    [['queues', 'peek'], /missing required argument 'queue'/],
    [['queues', 'backup', 'x', '--broker', 'redis://localhost'], /copies the file of a file: broker/],
    [['purge', 'lovage', '--broker', 'memory:'], /it needs --yes/],
    [['purge', '', '--yes'], /1 to 255 bytes/],
    [['purge', 'a', 'x'.repeat(256), '--yes'], /1 to 255 bytes/],
    [['queues', 'list', ''], /1 to 255 bytes/],
    [['dead'], /needs one of: list, show, replay, purge/],
    [['dead', 'lsit'], /has no command "lsit" \(did you mean list\?\): it has list, show, replay, purge/],
    [['inspect', 'actve'], /has no command "actve" \(did you mean active\?\)/],
    [['control'], /needs one of: rate_limit, time_limit/],
    [['queues', 'nonsense'], /has no command "nonsense": it has list, peek, find, remove, move, pause, resume, paused, backup/],
    [['dead', 'show'], /missing required argument 'id'/],
    [['dead', 'show', '1', '--raw', '--json'], /give one of them/],
    [['dead', 'list', '--older-than', '30'], /a number with its unit/],
    [['dead', 'list', '--limit', '0'], /whole number from 1/],
    [['dead', 'replay'], /needs to know which/],
    [['dead', 'purge', '--yes'], /needs to know which/],
    [['dead', 'replay', '1', '--all'], /not both/],
    [['dead', 'purge', '1', '--queue', 'q', '--yes'], /not both/],
    [['dead', 'replay', '--all', '--broker', 'memory:'], /runs tasks again.*it needs --yes/],
    [['dead', 'purge', '1', '--broker', 'memory:'], /removes messages for good.*it needs --yes/],
    [['queues', 'peek', ''], /1 to 255 bytes/],
    [['queues', 'peek', 'q', '--limit', '-1'], /whole number from 1/],
    [['result', ''], /1 to 255 bytes/],
    [['result', 'x', '--wait', 'forever'], /a number with its unit/],
    [['send', 'a', '--countdown', '-5s'], /a number with its unit/],
    [['send', 'a', '--kwargs', '{"__proto__":{}}'], /__proto__/],
    [['send', 'a', '--args', '['.repeat(300) + ']'.repeat(300)], /levels deep/],
    [['worker', '--app', 'x.ts', '--grace', '5'], /a number with its unit/],
  ])('lovage %j', async (args, says) => {
    const { code, stdout, stderr } = await project.run(args);
    expect(stderr).toMatch(says);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});

describe('other exits without a broker', () => {
  test.each([
    ['an unknown scheme', ['queues', 'list', '--broker', 'kafka://x'], 78, /E_CONFIG_URL/],
    ['a URL without a scheme', ['send', 'a', '--broker', 'localhost'], 78, /E_CONFIG_URL/],
    ['an empty URL', ['queues', 'list', '--broker', ''], 78, /E_CONFIG_RANGE/],
    ['a port that is none', ['queues', 'list', '--broker', 'redis://localhost:99999'], 78, /E_CONFIG_URL/],
    ['a database that is no number', ['queues', 'list', '--broker', 'redis://localhost/abc'], 78, /E_CONFIG_URL/],
    ['an amqp URL without a host', ['queues', 'list', '--broker', 'amqp://'], 78, /E_CONFIG_URL/],
    ['a file URL without a file', ['queues', 'list', '--broker', 'file:'], 78, /E_CONFIG_URL/],
    ['a file URL with an unknown option', ['queues', 'list', '--broker', 'file:./q.db?nope=1'], 78, /E_CONFIG_UNKNOWN_KEY/],
    ['an unknown result store', ['send', 'a', '--results', 'mysql://x', '--wait', '1s'], 78, /E_CONFIG_URL/],
    ['a task without a name', ['send', '', '--broker', 'memory:'], 78, /E_CONFIG_RANGE/],
    ['an empty id', ['send', 'a', '--id', '', '--broker', 'memory:'], 78, /E_CONFIG_RANGE/],
    ['an id that is too long', ['send', 'a', '--id', 'x'.repeat(256), '--broker', 'memory:'], 78, /E_CONFIG_RANGE/],
    ['a queue without a name', ['send', 'a', '--queue', '', '--broker', 'memory:'], 78, /E_CONFIG_RANGE/],
    ['a queue whose name is too long', ['send', 'a', '--queue', 'x'.repeat(256), '--broker', 'memory:'], 78, /E_CONFIG_RANGE/],
    ['reserved header', ['send', 'a', '--header', 'task=x', '--broker', 'memory:'], 78, /E_CONFIG_CONFLICT/],
    ['nobody listening', ['queues', 'list', '--broker', 'redis://127.0.0.1:1', '--timeout', '300ms'], 69, /E_BROKER_UNREACHABLE/],
    ['a file that is not there', ['send', '--file', 'no.jsonl', '--broker', 'memory:'], 65, /does not exist/],
    ['an app file that is not there', ['send', 'a', '--app', './no.ts'], 65, /E_APP_FILE/],
    ['results that go to the sender only', ['result', 'x', '--broker', 'amqp://127.0.0.1:1'], 78, /E_NOT_SUPPORTED/],
  ])('%s', async (_, args, code, says) => {
    const finished = await project.run(args);
    expect(finished.stderr).toMatch(says);
    expect(finished.code).toBe(code);
  });

  test('with --json an error is one line of JSON with its code', async () => {
    const { code, stdout, stderr } = await project.run(['queues', 'list', '--broker', 'kafka://x', '--json']);
    expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'E_CONFIG_URL' } });
  });

  test.each([
    ['a worker whose app file is not there', ['--app', './no.ts'], 65, 'E_APP_FILE'],
    ['a worker without a name', ['--app', './empty.ts', '--name', ''], 78, 'E_CONFIG_RANGE'],
    ['a worker whose queue has no name', ['--app', './empty.ts', '--queues', 'a,,b'], 78, 'E_CONFIG_RANGE'],
    ['a worker whose queue has no slots', ['--app', './empty.ts', '--queues', 'a:0'], 78, 'E_CONFIG_RANGE'],
    ['a worker with too short a lease', ['--app', './empty.ts', '--lease', '1ms'], 78, 'E_CONFIG_RANGE'],
    ['a worker on an unknown scheme', ['--app', './empty.ts', '--broker', 'kafka://x'], 78, 'E_CONFIG_URL'],
    [
      'a worker that may try once',
      ['--app', './empty.ts', '--broker', 'redis://127.0.0.1:1', '--connect-tries', '1'],
      69,
      'E_BROKER_UNREACHABLE',
    ],
    [
      'a worker with options that contradict each other',
      ['--app', './empty.ts', '--pool', 'async', '--threads', '2'],
      78,
      'E_CONFIG_CONFLICT',
    ],
  ])('%s names the cause in its last log line', async (_, args, exitCode, code) => {
    project.write('empty.ts', "import { createApp } from 'lovage'; export const app = createApp({ broker: 'memory:' });");
    const finished = await project.run(['worker', ...args]);
    expect(JSON.parse(finished.stderr.trimEnd().split('\n').at(-1) ?? '')).toMatchObject({ level: 50, exitCode, code });
    expect(finished.code).toBe(exitCode);
  });
});

describe('lovage.config', () => {
  test('stands for the flags, and a flag comes first', async () => {
    const own = new Project();
    try {
      own.write('lovage.config.ts', "export const config = { broker: 'kafka://from-the-file' };");
      expect((await own.run(['queues', 'list'])).stderr).toContain('kafka://from-the-file');
      expect((await own.run(['queues', 'list', '--broker', 'nats://flag'])).stderr).toContain('nats://flag');
    } finally {
      own.remove();
    }
  });

  test.each([
    ['a misspelt key', 'export const config = { brokr: 1 };', /no option "brokr": did you mean "broker"/],
    ['a wrong type', 'export const config = { broker: 1 };', /broker must be a string/],
    ['no export', 'export const x = 1;', /exports no "config"/],
    ['a syntax error', 'export const = ;', /could not be loaded/],
  ])('%s exits 78', async (_, text, says) => {
    const own = new Project();
    try {
      own.write('lovage.config.mjs', text);
      const { code, stderr } = await own.run(['queues', 'list']);
      expect(stderr).toMatch(says);
      expect(code).toBe(78);
    } finally {
      own.remove();
    }
  });
});

test('the completion script for bash offers commands, and the options of the command at hand', async () => {
  const { stdout } = await project.run(['completion', 'bash']);
  const complete = (...words: string[]): string[] =>
    execFileSync(
      'bash',
      [
        '-c',
        `${stdout}\nCOMP_WORDS=(lovage ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}; _lovage; printf '%s\\n' "\${COMPREPLY[@]}"`,
      ],
      { encoding: 'utf8' },
    )
      .split('\n')
      .filter(Boolean);
  expect(complete('se')).toEqual(['send']);
  expect(complete('send', '--co')).toEqual(['--countdown']);
  expect(complete('queues', 'pe')).toEqual(['peek']);
  expect(complete('queues', 'peek', '--li')).toEqual(['--limit']);
  expect(complete('dead', 're')).toEqual(['replay']);
  expect(complete('dead', 'replay', '--dr')).toEqual(['--dry-run']);
  expect(complete('dead', 'list', '--o')).toEqual(['--older-than']);
});

test.each(['zsh', 'fish'])('there is a completion script for %s too', async (shell) => {
  const { code, stdout } = await project.run(['completion', shell]);
  expect(code).toBe(0);
  expect(stdout).toContain('countdown');
});
