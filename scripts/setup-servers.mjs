// @ts-check
/**
 * `npm run setup:servers`: installs what the whole test suite needs and this machine lacks: Redis, RabbitMQ, PostgreSQL, supervisord
 * and Celery.
 * On Debian and Ubuntu, as root, by apt, without starting any service; elsewhere it says what to install.
 * Quick when all is there; `--check` only prints what is missing.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CELERY_PACKAGES, CELERY_VENV, celeryVenvIsCurrent, findProgram, missingNeeds } from './environment.mjs';

const APT_PACKAGES = [
  'redis-server',
  'rabbitmq-server',
  'postgresql',
  'supervisor',
  'python3-celery',
  'python3-redis',
  'python3-tzlocal',
  'python3-dateutil',
  'python3-venv',
  'openssl',
];
const POLICY = '/usr/sbin/policy-rc.d';
const POLICY_SAVED = `${POLICY}.lovage-saved`;
const POLICY_MARK = '# put here by lovage for the time of one installation';

/** @param {string} command @param {readonly string[]} args @param {Record<string, string>} [env] */
function run(command, args, env = {}) {
  console.log(`$ ${command} ${args.join(' ')}`);
  const result = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...env } });
  if (result.error) throw result.error;
  if (result.status !== 0) throw new Error(`${command} ended with ${result.status ?? result.signal}`);
}

/** Names of packages that dpkg does not have installed. */
function missingPackages() {
  const query = spawnSync('dpkg-query', ['-W', '-f=${Package} ${db:Status-Status}\n', ...APT_PACKAGES], { encoding: 'utf8' });
  const installed = new Set(query.stdout.split('\n').flatMap((row) => (row.endsWith(' installed') ? [row.split(' ')[0]] : [])));
  return APT_PACKAGES.filter((name) => !installed.has(name));
}

/** Debian starts a service when its package is installed, unless this file says no. Returns the way back. */
function forbidServices() {
  const leftOver = existsSync(POLICY) && readFileSync(POLICY, 'utf8').includes(POLICY_MARK);
  if (existsSync(POLICY) && !leftOver) renameSync(POLICY, POLICY_SAVED);
  writeFileSync(POLICY, `#!/bin/sh\n${POLICY_MARK}\nexit 101\n`, { mode: 0o755 });
  return () => {
    rmSync(POLICY, { force: true });
    if (existsSync(POLICY_SAVED)) renameSync(POLICY_SAVED, POLICY);
  };
}

/** @param {readonly string[]} packages */
function installPackages(packages) {
  const allowServices = forbidServices();
  const onSignal = () => {
    allowServices();
    process.exit(1);
  };
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    const env = { DEBIAN_FRONTEND: 'noninteractive' };
    const patient = ['-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=3'];
    run('apt-get', ['update', '-q', ...patient], env);
    run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...patient, ...packages], env);
  } finally {
    allowServices();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

/** A current Celery on top of the system's Python, which has the small dependencies. */
function installCelery() {
  rmSync(CELERY_VENV, { recursive: true, force: true });
  mkdirSync(dirname(CELERY_VENV), { recursive: true });
  run('/usr/bin/python3', ['-m', 'venv', '--system-site-packages', CELERY_VENV]);
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--retries', '0', '--no-deps'];
  run(join(CELERY_VENV, 'bin', 'python'), [...pip, ...CELERY_PACKAGES]);
  run(join(CELERY_VENV, 'bin', 'python'), ['-c', 'import celery, kombu, redis']);
  // Written last: a venv without it is half built and is built again.
  writeFileSync(join(CELERY_VENV, 'lovage-packages.txt'), CELERY_PACKAGES.join('\n'));
}

function main() {
  const missing = missingNeeds();
  if (process.argv.includes('--check')) {
    for (const [need, why] of missing) console.log(`${need}: ${why}`);
    if (missing.size === 0) console.log('Redis, RabbitMQ, PostgreSQL, supervisord and both Celery versions are here.');
    return missing.size === 0;
  }
  if (missing.size === 0) {
    console.log('Redis, RabbitMQ, PostgreSQL, supervisord and both Celery versions are here.');
    return true;
  }
  if (findProgram('apt-get') && findProgram('dpkg-query')) {
    const packages = missingPackages();
    if (packages.length > 0 && process.getuid?.() !== 0) {
      console.error(`Installing needs root. Run: sudo apt-get install --no-install-recommends ${packages.join(' ')}`);
      return false;
    }
    if (packages.length > 0) installPackages(packages);
  } else if (
    ['redis', 'rabbitmq', 'postgres', 'supervisord', 'celery-system'].some((need) => missing.has(/** @type {any} */ (need)))
  ) {
    console.error(
      `This is no Debian or Ubuntu. Install by hand (macOS: brew install redis rabbitmq postgresql@17 supervisor): ${[...missing.values()].join('; ')}`,
    );
    console.error('compose.yaml starts the servers in containers for your own experiments; the tests start private ones.');
    return false;
  }
  if (!celeryVenvIsCurrent()) {
    try {
      installCelery();
    } catch (error) {
      console.error(
        `Celery 5.6 could not be installed with pip (${error instanceof Error ? error.message : error}); its suite will be named as not run.`,
      );
    }
  }
  const still = missingNeeds();
  for (const why of still.values()) console.error(`still missing: ${why}`);
  return still.size === 0;
}

try {
  process.exitCode = main() ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
