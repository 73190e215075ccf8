/**
 * Drill 2: tasks throw, and retry with, what cannot be serialised. The worker must live on, retries must go on, and
 * state, type and traceback must be readable on both sides, in bounds. With Celery beside it where that is installed:
 * Python reads what we stored, and we read what Python stored.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { openResultStore } from '../src/results/from-url.js';
import { decodeResultMeta } from '../src/wire/result-meta.js';
import { hasCelery, PYTHONS, startPythonWorker } from '../tests/support/celery.js';
import { THROWN } from './apps/throwing.js';
import type { Drill } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';

const APP = fileURLToPath(new URL('./apps/throwing.ts', import.meta.url));
const PYTHON_FOLDER = fileURLToPath(new URL('./apps/', import.meta.url));
const MAX_STORED = 64 * 1_024;
const VERSIONS = ['5.2', '5.6'] as const;
/** What ended the workers of the shop in the story, and ends Celery 5.2's: retried last. */
const DEADLY = 'requiredArguments';
const PYTHON_KINDS = [
  'requiredArguments',
  'unpicklable',
  'objectArgument',
  'bytesArgument',
  'hugeMessage',
  'causes',
  'noArguments',
];

type Sent = readonly { readonly kind: string; readonly id: string }[];

async function sendEach(scene: Scene, task: string, kinds: readonly string[]): Promise<Sent> {
  const ids = await scene.sender.sendMany(
    task,
    kinds.map((kind) => ({ args: [kind] })),
  );
  return kinds.map((kind, index) => ({ kind, id: ids[index] as string }));
}

/** Waits for the ends; tells which have none. */
async function unfinished(scene: Scene, sent: Sent): Promise<string[]> {
  const ends = await Promise.all(
    sent.map(({ id, kind }) =>
      scene.sender
        .handle(id)
        .result({ timeout: '40s' })
        .then(
          () => '',
          (error: { readonly code?: string }) => (error.code === 'E_RESULT_TIMEOUT' ? kind : ''),
        ),
    ),
  );
  return ends.filter((kind) => kind !== '');
}

/** How many bytes of error and of traceback the store holds at most, as text. */
async function largestStored(kit: Kit, sent: Sent): Promise<{ readonly error: number; readonly traceback: number }> {
  const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
  const store = await openResultStore({ url: kit.broker.resultUrl, logger: quiet, role: 'client' });
  try {
    const metas = (await store.get(sent.map(({ id }) => id))).map((meta) => decodeResultMeta(meta ?? '{}'));
    const bytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value ?? null));
    return {
      error: Math.max(...metas.map(({ result }) => bytes(result))),
      traceback: Math.max(...metas.map(({ traceback }) => Buffer.byteLength(traceback ?? ''))),
    };
  } finally {
    await store.close();
  }
}

interface Seen {
  readonly state?: string;
  readonly type?: string;
  readonly is_exception?: boolean;
  readonly traceback?: string;
  readonly unreadable?: string;
}

function asPythonSees(kit: Kit, version: (typeof VERSIONS)[number], sent: Sent): Record<string, Seen> {
  const text = execFileSync(PYTHONS[version], [`${PYTHON_FOLDER}throwing_python.py`], {
    input: JSON.stringify(sent.map(({ id }) => id)),
    env: {
      ...process.env,
      INTEROP_BROKER: kit.broker.brokerUrl,
      INTEROP_RESULTS: kit.broker.resultUrl,
      PYTHONDONTWRITEBYTECODE: '1',
    },
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    timeout: 60_000,
  });
  return JSON.parse(text) as Record<string, Seen>;
}

/** Kinds for which the condition does not hold, as text: an empty one is what is claimed. */
const which = (sent: Sent, isWrong: (id: string, kind: string) => boolean): string =>
  sent
    .filter(({ id, kind }) => isWrong(id, kind))
    .map(({ kind }) => kind)
    .join(' ') || 'none';

/** Ours throw; we read, and Python reads. */
async function playOurs(kit: Kit): Promise<void> {
  const scene = new Scene(kit, 'throwing', '5s');
  try {
    const fleet = await scene.fleet({ count: 1, app: APP });
    const kinds = Object.keys(THROWN);
    const failed = [...(await sendEach(scene, 'throwing.fail', kinds)), ...(await sendEach(scene, 'throwing.policy', kinds))];
    const again = await sendEach(scene, 'throwing.again', kinds);
    const open = await unfinished(scene, [...failed, ...again]);
    const statuses = new Map(
      await Promise.all([...failed, ...again].map(async ({ id }) => [id, await scene.sender.handle(id).status()] as const)),
    );
    const { runs } = scene.ledger.read();
    const largest = await largestStored(kit, failed);

    kit.claim('ours: kinds of thrown values', kinds.length, { atLeast: 11 });
    kit.claim('ours: tasks without an end', open.join(' ') || 'none', { equals: 'none' });
    kit.claim(
      'ours: failed, but not FAILURE',
      which(failed, (id) => statuses.get(id)?.state !== 'FAILURE'),
      { equals: 'none' },
    );
    kit.claim(
      'ours: failed without a type',
      which(failed, (id) => !statuses.get(id)?.error?.type),
      { equals: 'none' },
    );
    // A stack names its file; values that have none of their own must still have a text.
    kit.claim(
      'ours: failed without a traceback',
      which(failed, (id) => !statuses.get(id)?.traceback),
      { equals: 'none' },
    );
    kit.claim(
      'ours: errors whose stack was lost',
      which(failed, (id, kind) => ERRORS.has(kind) && !(statuses.get(id)?.traceback ?? '').includes('throwing.ts')),
      { equals: 'none' },
    );
    kit.claim(
      'ours: tasks with a policy whose tries are not three',
      which(failed.slice(kinds.length), (id) => runs.get(id)?.length !== 3),
      { equals: 'none' },
    );
    kit.claim(
      'ours: retries that do not end in SUCCESS at the third try',
      which(again, (id) => statuses.get(id)?.state !== 'SUCCESS' || statuses.get(id)?.result !== 3),
      { equals: 'none' },
    );
    kit.claim('ours: largest stored error', largest.error, { atMost: MAX_STORED }, 'bytes');
    kit.claim('ours: largest stored traceback', largest.traceback, { atMost: MAX_STORED }, 'bytes');
    kit.claim('ours: ends of the worker', fleet.crashes.length, { equals: 0 });

    for (const version of kit.broker.name === 'file' ? [] : VERSIONS.filter(hasCelery)) {
      const seen = asPythonSees(kit, version, failed);
      const by = `read by Celery ${version}`;
      kit.claim(
        `${by}: unreadable`,
        which(failed, (id) => seen[id]?.unreadable !== undefined || !seen[id]),
        { equals: 'none' },
      );
      kit.claim(
        `${by}: not FAILURE`,
        which(failed, (id) => seen[id]?.state !== 'FAILURE'),
        { equals: 'none' },
      );
      kit.claim(
        `${by}: no exception`,
        which(failed, (id) => seen[id]?.is_exception !== true),
        { equals: 'none' },
      );
      kit.claim(
        `${by}: another type`,
        which(failed, (id) => seen[id]?.type !== statuses.get(id)?.error?.type),
        { equals: 'none' },
      );
      kit.claim(
        `${by}: no traceback`,
        which(failed, (id) => !seen[id]?.traceback),
        { equals: 'none' },
      );
    }
  } finally {
    await scene.close();
  }
}

/** Thrown values that are errors with a readable stack. */
const ERRORS: ReadonlySet<string> = new Set(['requiredArguments', 'cycle', 'bigint', 'hugeMessage', 'deepCauses', 'aggregate']);

/** Python's raise; we read what Celery made of it. What Celery itself does not survive is told, and is not our claim. */
async function playTheirs(kit: Kit, version: (typeof VERSIONS)[number]): Promise<void> {
  const scene = new Scene(kit, 'python', '5s');
  const { brokerUrl, resultUrl } = kit.broker;
  const python = await startPythonWorker(version, brokerUrl, resultUrl, {
    ...{ folder: PYTHON_FOLDER, module: 'throwing_python', queue: 'python' },
  });
  try {
    const failed = await sendEach(scene, 'throwing.python_fail', PYTHON_KINDS);
    const again = await sendEach(
      scene,
      'throwing.python_again',
      PYTHON_KINDS.filter((kind) => kind !== DEADLY),
    );
    const sent = [...failed, ...again];
    const open = await unfinished(scene, sent);
    const ours = new Map(await Promise.all(sent.map(async ({ id }) => [id, await scene.sender.handle(id).status()] as const)));
    const seen = asPythonSees(kit, version, failed);
    const by = `raised by Celery ${version}`;
    kit.claim(`${by}: tasks without an end here`, open.join(' ') || 'none', { equals: 'none' });
    kit.claim(
      `${by}: not FAILURE here`,
      which(failed, (id) => ours.get(id)?.state !== 'FAILURE'),
      { equals: 'none' },
    );
    kit.claim(
      `${by}: without a type here`,
      which(failed, (id) => !ours.get(id)?.error?.type),
      { equals: 'none' },
    );
    kit.claim(
      `${by}: another state here than for Celery's own client`,
      which(failed, (id) => ours.get(id)?.state !== seen[id]?.state),
      { equals: 'none' },
    );
    kit.claim(
      `${by}: without the traceback that Celery stored`,
      which(failed, (id) => (ours.get(id)?.traceback ?? '').slice(0, 4_000) !== seen[id]?.traceback),
      { equals: 'none' },
    );
    const succeeded = again.filter(({ id }) => ours.get(id)?.result === 3).length;
    kit.figure(`${by}: of ${again.length} kinds retried, it brought to SUCCESS`, succeeded);
    const [deadly] = await sendEach(scene, 'throwing.python_again', [DEADLY]);
    const survived = await scene.sender
      .handle(deadly?.id ?? '')
      .result({ timeout: '10s' })
      .then(
        (tries) => tries === 3,
        () => false,
      );
    kit.figure(
      `${by}: a retry with a class that has required arguments`,
      survived ? 'goes on' : 'never ends: its worker is dead',
    );
  } catch (error) {
    kit.say(python.log());
    throw error;
  } finally {
    await python.stop();
    await scene.close();
  }
}

export const drill: Drill = {
  name: 'unserialisable-error',
  scenario:
    'Tasks fail with, and retry because of, a class with required arguments, a cycle, BigInt, Symbol, undefined, null, a Proxy and getters that throw, a message of 50 MiB, 10,000 causes, 1,000 errors in one. Python tasks do the like.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['redis'],
  async run(kit) {
    await playOurs(kit);
    if (kit.broker.name === 'file') return;
    for (const version of VERSIONS.filter(hasCelery)) await playTheirs(kit, version);
  },
};
