// @ts-check
/**
 * What the test suites need from this machine and where it is: servers, Pythons with Celery, other Node versions.
 * It only looks; `setup-servers.mjs` and `setup-nodes.mjs` install. Tests that start Python or another Node import it too.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The project's folder. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
/** Everything that set-up puts beside the sources; ignored by git, safe to delete. */
export const CACHE = join(ROOT, '.lovage');
/** The Node lines that we promise; the one that runs the tests is left out of the others. */
const NODE_LINES = ['20', '22', '24'];
/** The lines beside the one that runs this. */
export const OTHER_NODES = NODE_LINES.filter((line) => line !== process.versions.node.split('.')[0]);

/** Python packages of the second Celery. Their small dependencies come from the system's Python. */
export const CELERY_PACKAGES = ['celery==5.6.3', 'kombu==5.6.2', 'billiard>=4.2', 'vine>=5.1', 'amqp>=5.1.1', 'redis>=5.3.1'];
export const CELERY_VENV = join(CACHE, 'celery-5.6');
const SYSTEM_PYTHON = process.env['LOVAGE_PYTHON'] ?? '/usr/bin/python3';

// Debian keeps servers out of the PATH of an ordinary user; Homebrew has a place of its own.
const FOLDERS = [
  ...(process.env['PATH'] ?? '').split(delimiter),
  '/usr/sbin',
  '/usr/local/sbin',
  '/opt/homebrew/bin',
  '/opt/homebrew/sbin',
];

/**
 * The full path of a program, or null.
 * @param {string} name
 */
export function findProgram(name) {
  return FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

/** Distributions keep the servers of several PostgreSQL versions side by side, out of everybody's PATH. */
const POSTGRES_FOLDERS = ['/usr/lib/postgresql', '/opt/homebrew/opt', '/usr/local/opt'];

/**
 * The full path of a program of the newest PostgreSQL server that is installed, or null.
 * @param {'postgres' | 'initdb'} name
 */
export function findPostgres(name) {
  for (const folder of POSTGRES_FOLDERS) {
    if (!existsSync(folder)) continue;
    const versions = readdirSync(folder).flatMap((entry) => {
      const version = /^(?:postgresql@)?(\d+)$/.exec(entry)?.[1];
      return version ? [{ version: Number(version), path: join(folder, entry, 'bin', name) }] : [];
    });
    versions.sort((a, b) => b.version - a.version);
    const found = versions.find(({ path }) => existsSync(path));
    if (found) return found.path;
  }
  return findProgram(name);
}

/**
 * A Node binary of that line: the one that runs this, one brought by `setup-nodes.mjs`, or null.
 * @param {string} line for example `'22'`
 */
export function nodeBinary(line) {
  if (process.versions.node.startsWith(`${line}.`)) return process.execPath;
  const path = join(CACHE, 'nodes', line, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  return existsSync(path) ? path : null;
}

/** @param {string} python @param {readonly string[]} modules */
function missingModules(python, modules) {
  if (!existsSync(python)) return `${python} does not exist`;
  const run = spawnSync(python, ['-c', `import ${modules.join(', ')}`], { encoding: 'utf8' });
  return run.status === 0 ? null : (run.stderr.trim().split('\n').at(-1) ?? `${python} failed`);
}

/**
 * The Pythons that interop tests run against: the distribution's Celery and a current one.
 * @type {readonly { need: 'celery-system' | 'celery-5.6', python: string }[]}
 */
export const CELERIES = [
  { need: 'celery-system', python: SYSTEM_PYTHON },
  { need: 'celery-5.6', python: join(CELERY_VENV, 'bin', 'python') },
];

/** True when the venv holds the versions that we ask for, without starting Python. */
export function celeryVenvIsCurrent() {
  const stamp = join(CELERY_VENV, 'lovage-packages.txt');
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === CELERY_PACKAGES.join('\n') && existsSync(CELERIES[1]?.python ?? '');
}

/** @typedef {'redis' | 'rabbitmq' | 'postgres' | 'supervisord' | 'celery-system' | 'celery-5.6'} Need */

/** @type {Record<Need, () => string | null>} */
const PROBES = {
  redis: () => (findProgram('redis-server') ? null : 'redis-server is not installed'),
  rabbitmq: () => (findProgram('rabbitmq-server') ? null : 'rabbitmq-server is not installed'),
  postgres: () => (findPostgres('postgres') && findPostgres('initdb') ? null : 'the server of postgresql is not installed'),
  supervisord: () => (findProgram('supervisord') ? null : 'supervisord is not installed'),
  'celery-system': () => {
    const fault = missingModules(SYSTEM_PYTHON, ['celery', 'redis', 'dateutil', 'tzlocal']);
    return fault ? `the system's Python has no working Celery (${fault})` : null;
  },
  'celery-5.6': () => (celeryVenvIsCurrent() ? null : 'Celery 5.6 is not installed'),
};

/**
 * Why each missing need is missing; nothing missing = an empty map.
 * @returns {Map<Need, string>}
 */
export function missingNeeds() {
  const needs = /** @type {Need[]} */ (Object.keys(PROBES));
  const found = needs.map((need) => /** @type {const} */ ([need, PROBES[need]()]));
  return new Map(found.flatMap(([need, why]) => (why ? [[need, why]] : [])));
}

/** The one command that installs what is missing and tests everything. */
export const SETUP_COMMAND = 'LOVAGE_SETUP=1 npm test';
