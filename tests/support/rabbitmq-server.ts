/**
 * A private RabbitMQ node for tests: own name, own epmd, own ports, everything in a temporary folder that is removed.
 * It touches no system service and no file outside that folder. Use one per test file: a start takes a few seconds.
 *
 * A small shell watches the pipe to this process: when the test process goes in any way (also by SIGKILL), the node goes too.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';

/** A running private node. */
export interface RabbitmqServer {
  /** `amqp://guest:guest@127.0.0.1:PORT` (virtual host `/`). */
  readonly url: string;
  readonly port: number;
  /** The same over TLS, if it was started with `tls`. */
  readonly tlsUrl: string;
  /** Ends the node and removes its folder. */
  stop(): Promise<void>;
  /** SIGKILL of the node, as a power cut. `restart()` brings it back with its data. */
  kill9(): Promise<void>;
  /** Starts the node again on the same ports and data; kills it first if it runs. */
  restart(): Promise<void>;
  /** Signals the node: SIGSTOP and SIGCONT freeze and thaw it. */
  signal(name: NodeJS.Signals): void;
  /** Runs `rabbitmqctl` against this node (slow: about a second) and returns what it printed. */
  ctl(...args: string[]): string;
  /** The same without holding up this process: its clients go on meanwhile. */
  ask(...args: string[]): Promise<string>;
}

/** Extra lines of `rabbitmq.conf`. */
export interface RabbitmqServerOptions {
  readonly config?: readonly string[];
  /** Settings of the application `rabbit` that `rabbitmq.conf` does not know, as Erlang terms: `{channel_tick_interval, 1000}`. */
  readonly advanced?: readonly string[];
  /** A second listener that speaks TLS. Files in PEM. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string; readonly asksClients?: boolean };
}

// Debian's /usr/sbin wrapper changes the user and needs the service's folders: the script behind it does not.
const FOLDERS = [
  '/usr/lib/rabbitmq/bin',
  ...(process.env['PATH'] ?? '').split(delimiter),
  '/usr/sbin',
  '/opt/homebrew/sbin',
  '/usr/local/sbin',
];
const START_LIMIT_MS = 60_000;

function find(program: string): string | null {
  return FOLDERS.map((folder) => join(folder, program)).find((path) => existsSync(path)) ?? null;
}

/** `null` if a private node can be started here, otherwise what is missing. */
export function missingRabbitmq(): string | null {
  for (const program of ['rabbitmq-server', 'rabbitmqctl', 'epmd']) {
    if (!find(program)) return `${program} is not installed (npm run setup:servers installs it)`;
  }
  return null;
}

/** Ports that were free a moment ago; all are held open together so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve, reject) =>
        server.once('error', reject).listen(0, '127.0.0.1', () => resolve(server)),
      );
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** True once the port answers an AMQP header with a frame: listeners start last, so the node is up then. */
function answersAmqp(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('AMQP\0\0\x09\x01'));
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket
      .once('data', () => done(true))
      .once('error', () => done(false))
      .once('close', () => done(false))
      .setTimeout(2_000, () => done(false));
  });
}

/** Waits for a child's end; it was unref'd, and while we wait it must keep this process alive. */
function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  child.ref();
  return new Promise((resolve) => child.once('exit', () => resolve()));
}

function killGroup(child: ChildProcess | undefined): void {
  try {
    if (child?.pid) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // it has gone already
  }
}

function tlsConfig(port: number, { ca, cert, key, asksClients = false }: NonNullable<RabbitmqServerOptions['tls']>): string[] {
  return [
    `listeners.ssl.1 = 127.0.0.1:${port}`,
    `ssl_options.cacertfile = ${ca}`,
    `ssl_options.certfile = ${cert}`,
    `ssl_options.keyfile = ${key}`,
    `ssl_options.verify = ${asksClients ? 'verify_peer' : 'verify_none'}`,
    `ssl_options.fail_if_no_peer_cert = ${asksClients}`,
  ];
}

/** Starts a private node. @throws Error with the tail of its log when it does not come up within a minute */
export async function startRabbitmq(options: RabbitmqServerOptions = {}): Promise<RabbitmqServer> {
  const missing = missingRabbitmq();
  if (missing) throw new Error(missing);
  const [port, distPort, epmdPort, tlsPort] = (await freePorts(4)) as [number, number, number, number];
  const folder = mkdtempSync(join(tmpdir(), 'lovage-rabbitmq-'));
  for (const name of ['mnesia', 'log']) mkdirSync(join(folder, name));
  const logFile = join(folder, 'log', 'node.log');
  writeFileSync(
    join(folder, 'rabbitmq.conf'),
    [
      'loopback_users = none',
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      'disk_free_limit.absolute = 1MB',
      `log.file = ${logFile}`,
      'log.file.level = warning',
      ...(options.tls ? tlsConfig(tlsPort, options.tls) : []),
      ...(options.config ?? []),
      '',
    ].join('\n'),
  );
  writeFileSync(join(folder, 'advanced.config'), `[{rabbit, [${(options.advanced ?? []).join(', ')}]}].\n`);
  writeFileSync(join(folder, 'enabled_plugins'), '[].\n');
  const env: NodeJS.ProcessEnv = {
    PATH: process.env['PATH'],
    LANG: 'C.UTF-8',
    HOME: folder, // the Erlang cookie lives here
    RABBITMQ_NODENAME: `lovage-${port}@localhost`,
    RABBITMQ_DIST_PORT: String(distPort),
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_BASE: folder,
    RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'advanced.config'),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'none-env.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RUNNING_UNDER_SYSTEMD: 'true', // exec the VM in place of the shell, so that our child is the node
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none',
  };

  const epmd = spawn(find('epmd')!, ['-port', String(epmdPort), '-address', '127.0.0.1'], {
    env,
    stdio: 'ignore',
    detached: true,
  });
  // Reads the process groups to end from a file, because restart() changes them.
  const pidsFile = join(folder, 'groups');
  const watchdog = spawn(
    'sh',
    ['-c', 'read line; for p in $(cat "$1"); do kill -9 "-$p" 2>/dev/null; done; rm -rf "$2"', 'watchdog', pidsFile, folder],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    },
  );
  watchdog.unref();
  epmd.unref();
  let node: ChildProcess | undefined;

  async function start(): Promise<void> {
    const child = spawn(find('rabbitmq-server')!, [], { env, cwd: folder, stdio: 'ignore', detached: true });
    child.unref();
    node = child;
    writeFileSync(pidsFile, `${epmd.pid} ${child.pid}\n`);
    for (const deadline = Date.now() + START_LIMIT_MS; !(await answersAmqp(port)); ) {
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
        const log = existsSync(logFile) ? readFileSync(logFile, 'utf8').slice(-2_000) : 'no log was written';
        await stop();
        throw new Error(`the private RabbitMQ node did not start on port ${port}:\n${log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async function kill9(): Promise<void> {
    if (!node) return;
    killGroup(node);
    await ended(node);
    node = undefined;
  }

  async function stop(): Promise<void> {
    await kill9();
    killGroup(epmd);
    await ended(epmd);
    watchdog.kill('SIGKILL');
    await ended(watchdog);
    // Each minute the node starts a small Erlang of its own session to see whether epmd runs; one that outlives the node writes a
    // cookie into its home. A home of another name it does not find.
    const gone = `${folder}-gone`;
    if (existsSync(folder)) renameSync(folder, gone);
    rmSync(gone, { recursive: true, force: true, maxRetries: 5 });
  }

  await start();
  return {
    url: `amqp://guest:guest@127.0.0.1:${port}`,
    port,
    tlsUrl: `amqps://guest:guest@127.0.0.1:${tlsPort}`,
    stop,
    kill9,
    async restart() {
      await kill9();
      await start();
    },
    signal(name) {
      if (node?.pid) process.kill(-node.pid, name);
    },
    ctl(...args) {
      const run = spawnSync(find('rabbitmqctl')!, ['--quiet', ...args], { env, encoding: 'utf8' });
      if (run.status !== 0)
        throw new Error(`rabbitmqctl ${args.join(' ')} failed: ${run.stderr || run.stdout || String(run.error)}`);
      return run.stdout;
    },
    async ask(...args) {
      return (await promisify(execFile)(find('rabbitmqctl')!, ['--quiet', ...args], { env })).stdout;
    },
  };
}
