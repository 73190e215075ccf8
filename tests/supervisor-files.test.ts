/** The supervisor files in examples/supervisors agree with the worker: exit codes, flags, grace, probes. The drill exit-codes runs one of them. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { findProgram } from '../scripts/environment.mjs';
import { EXIT_CODES } from '../src/cli/exit-codes.js';
import { createProgram } from '../src/cli/program.js';

const FOLDER = fileURLToPath(new URL('../examples/supervisors/', import.meta.url));
const read = (name: string): string => readFileSync(join(FOLDER, name), 'utf8');
/** What is the same at the next start. */
const HOPELESS = [2, 65, 77, 78];

/** `key=value` lines, without comments. */
function setting(text: string, key: string): string {
  const found = new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1];
  if (found === undefined) throw new Error(`no ${key}`);
  return found;
}

/** The words of a command from `worker` on. */
function workerArguments(command: readonly string[]): string[] {
  return command.slice(command.indexOf('worker') + 1);
}

interface Container {
  readonly args: readonly string[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly livenessProbe: { readonly httpGet: { readonly path: string; readonly port: string } };
  readonly readinessProbe: { readonly httpGet: { readonly path: string; readonly port: string } };
}
interface Deployment {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly terminationGracePeriodSeconds: number; readonly containers: readonly [Container] };
    };
  };
}

const unit = read('lovage-worker.service');
const supervisord = read('supervisord.conf');
const dockerfile = read('Dockerfile');
const compose = parse(read('compose.yaml')) as { services: { worker: { stop_grace_period: string; restart: string } } };
const pod = (parse(read('kubernetes.yaml')) as Deployment).spec.template.spec;
const [container] = pod.containers;
const COMMANDS: readonly [string, readonly string[]][] = [
  ['systemd', setting(unit, 'ExecStart').split(' ')],
  ['supervisord', setting(supervisord, 'command').split(' ')],
  ['Docker', JSON.parse(/^CMD (\["worker".*\])$/m.exec(dockerfile)?.[1] ?? '[]') as string[]],
  ['Kubernetes', container.args],
];

describe.each(COMMANDS)('%s', (_, command) => {
  test('gives the worker only flags that it has, and a grace of 25 s', async () => {
    const program = await createProgram('worker');
    const worker = program.commands.find((one) => one.name() === 'worker');
    let given: Record<string, unknown> = {};
    worker?.action((flags: Record<string, unknown>) => {
      given = flags;
    });
    await program.parseAsync(['node', 'lovage', 'worker', ...workerArguments(command)]);
    expect(given).toMatchObject({ app: 'dist/tasks.js', grace: '25s' });
  });

  test('starts the command itself', () => {
    expect(command.join(' ')).not.toMatch(/\b(npx|npm)\b/);
  });
});

test('no supervisor that can tell exit codes apart starts again what cannot mend by itself', () => {
  for (const code of HOPELESS) expect(EXIT_CODES).toHaveProperty(String(code));
  expect(setting(unit, 'Restart')).toBe('on-failure');
  expect(setting(unit, 'RestartPreventExitStatus').split(' ').map(Number)).toEqual(HOPELESS);
  expect(setting(supervisord, 'autorestart')).toBe('unexpected');
  expect(setting(supervisord, 'exitcodes').split(',').map(Number)).toEqual([0, ...HOPELESS]);
});

test('each has a bound for starts that fail: a pause, and a number or a pause that grows', () => {
  expect(Number(setting(unit, 'RestartSec'))).toBeGreaterThanOrEqual(1);
  expect(Number(setting(unit, 'StartLimitBurst')) * Number(setting(unit, 'RestartSec'))).toBeLessThan(
    Number(setting(unit, 'StartLimitIntervalSec')),
  );
  expect(Number(setting(supervisord, 'startsecs'))).toBeGreaterThanOrEqual(1);
  expect(Number(setting(supervisord, 'startretries'))).toBeLessThanOrEqual(10);
  expect(compose.services.worker.restart).toMatch(/^on-failure:\d+$/);
});

test('each waits for the grace and ten seconds before it kills', () => {
  expect(Number(setting(unit, 'TimeoutStopSec'))).toBe(35);
  expect(Number(setting(supervisord, 'stopwaitsecs'))).toBe(35);
  expect(compose.services.worker.stop_grace_period).toBe('35s');
  expect(pod.terminationGracePeriodSeconds).toBe(35);
  expect(setting(unit, 'KillSignal')).toBe('SIGTERM');
  expect(setting(supervisord, 'stopsignal')).toBe('TERM');
  expect(dockerfile).toMatch(/^STOPSIGNAL SIGTERM$/m);
});

test('Kubernetes restarts on /livez and only watches /readyz, on the port that the worker opens to it', () => {
  const port = container.ports.find(({ name }) => name === 'health')?.containerPort;
  expect(container.args).toContain(`--health-port=${port}`);
  expect(container.args).toContain('--health-host=0.0.0.0');
  expect(container.livenessProbe.httpGet).toEqual({ path: '/livez', port: 'health' });
  expect(container.readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'health' });
});

test("Docker's check looks at the age of the file that the worker writes", () => {
  const file = /"--heartbeat-file", "([^"]+)"/.exec(dockerfile)?.[1];
  expect(file).toBeDefined();
  expect(dockerfile).toContain(`stat -c %Y ${file}`);
});

const analyze = findProgram('systemd-analyze');
test.runIf(analyze)('systemd finds nothing wrong with the unit but the paths of the example', () => {
  const { stdout, stderr } = spawnSync(analyze as string, ['verify', join(FOLDER, 'lovage-worker.service')], {
    encoding: 'utf8',
  });
  const said = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('lovage-worker'));
  expect(said.filter((line) => !line.includes('/srv/shop'))).toEqual([]);
});
