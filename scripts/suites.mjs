// @ts-check
/**
 * The test suites: one table for `vitest.config.ts` (which files) and `test.mjs` (order, needs, limits, other Nodes).
 * A test file that no other suite names belongs to `unit`, so that none is left out.
 */
import { readdirSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { ROOT } from './environment.mjs';

/** @typedef {import('./environment.mjs').Need} Need */
/**
 * @typedef {object} Suite
 * @property {string} name
 * @property {readonly string[]} folders path prefixes of its test files; empty for `unit`
 * @property {number} limitMinutes after which it is ended and counts as failed
 * @property {boolean} otherNodes runs on the other Node lines too
 * @property {boolean} [alone] one file at a time: it measures times
 * @property {readonly Need[]} [parts] needs of some of its tests, which leave themselves out
 * @property {boolean} required no file at all is a fault, not a suite that is still to come
 */

/** @type {readonly Suite[]} */
export const SUITES = [
  { name: 'unit', folders: [], limitMinutes: 6, otherNodes: false, required: true },
  { name: 'types', folders: ['tests/types/'], limitMinutes: 3, otherNodes: false, required: true },
  { name: 'smoke', folders: ['tests/smoke/'], limitMinutes: 2, otherNodes: true, required: true },
  { name: 'conformance', folders: ['tests/conformance/'], limitMinutes: 8, otherNodes: true, required: true },
  {
    name: 'drivers',
    folders: ['tests/file/', 'tests/redis/', 'tests/rabbitmq/', 'tests/postgres/'],
    limitMinutes: 15,
    otherNodes: false,
    required: true,
  },
  { name: 'bad-input', folders: ['tests/bad-input/'], limitMinutes: 6, otherNodes: false, required: true },
  { name: 'worker', folders: ['tests/worker/'], limitMinutes: 10, otherNodes: false, required: true },
  { name: 'control', folders: ['tests/control/'], limitMinutes: 10, otherNodes: false, required: true },
  { name: 'canvas', folders: ['tests/canvas/'], limitMinutes: 12, otherNodes: false, required: true },
  { name: 'beat', folders: ['tests/beat/'], limitMinutes: 15, otherNodes: false, required: true },
  { name: 'cli', folders: ['tests/cli/', 'tests/loading/'], limitMinutes: 8, otherNodes: false, required: true },
  { name: 'examples', folders: ['tests/examples', 'tests/demo/'], limitMinutes: 3, otherNodes: false, required: true },
  {
    name: 'interop',
    folders: ['tests/interop/'],
    limitMinutes: 15,
    otherNodes: false,
    required: true,
    parts: ['celery-5.6'],
  },
  { name: 'drills', folders: ['tests/drills/'], limitMinutes: 15, otherNodes: false, required: true, alone: true },
];

/**
 * What a test file needs of the machine, told by its path: `redis`, `rabbitmq`, `postgres`, `supervisord` or `interop` as a word in it.
 * @param {string} file
 * @returns {readonly Need[]}
 */
export function needsOf(file) {
  if (file.startsWith('src/wire/')) return []; // pure, whatever it is named after
  const words = new Set(file.split(/[^a-z]+/));
  if (words.has('interop')) return ['redis', 'rabbitmq', 'celery-system'];
  return [
    ...(words.has('redis') ? /** @type {const} */ (['redis']) : []),
    ...(words.has('supervisord') ? /** @type {const} */ (['supervisord']) : []),
    ...(words.has('rabbitmq') ? /** @type {const} */ (['rabbitmq']) : []),
    ...(words.has('postgres') ? /** @type {const} */ (['postgres']) : []),
  ];
}

/** @param {string} file */
function suiteOf(file) {
  return SUITES.find((suite) => suite.folders.some((prefix) => file.startsWith(prefix)))?.name ?? 'unit';
}

/**
 * Every test file of the project with its suite, as paths from the project's folder.
 * @returns {Map<string, string[]>}
 */
export function testFiles() {
  /** @type {Map<string, string[]>} */
  const bySuite = new Map(SUITES.map((suite) => [suite.name, []]));
  for (const top of ['src', 'tests']) {
    for (const entry of readdirSync(join(ROOT, top), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.test.ts')) continue;
      const file = relative(ROOT, join(entry.parentPath, entry.name)).split(sep).join('/');
      if (!file.includes('/fixtures/') && !file.includes('/node_modules/')) bySuite.get(suiteOf(file))?.push(file);
    }
  }
  for (const files of bySuite.values()) files.sort();
  return bySuite;
}
