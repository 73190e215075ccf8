/**
 * Drill 6: somebody passes an object of an ORM, a function, a Map, five megabytes. Queues that take whatever comes fail later and
 * elsewhere, or hand the worker something else than was sent; here it is refused while it is compiled or when it is sent, by its path,
 * and nothing is enqueued. What may travel arrives equal, in Python too.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chain, createApp, group, type RemoteTask, SendManyError, WireDate, WireDecimal, WireTime, WireUuid } from 'lovage';
import { openBroker } from '../src/brokers/from-url.js';
import { silentLogger } from '../src/core/logger.js';
import { hasCelery, PYTHONS, startPythonWorker } from '../tests/support/celery.js';
import { ALLOWED, REFUSED, shown } from './apps/arguments.js';
import { type Drill, ROOT } from './harness/runner.js';
import { type Kit, Scene } from './harness/scene.js';
import { until } from './harness/wait.js';

const APP = fileURLToPath(new URL('./apps/arguments.ts', import.meta.url));
const PYTHON_FOLDER = fileURLToPath(new URL('./apps/', import.meta.url));
const VERSIONS = ['5.2', '5.6'] as const;
const TASK = 'arguments.take';
/** Nobody works on it: what is enqueued stays and is seen. */
const REFUSED_QUEUE = 'refused';
const PYTHON_QUEUE = 'python';

type Remote = readonly unknown[];

/** Texts of what a client in Python sends, as Node shows them (`arguments_python.py` has the values). */
const FROM_PYTHON: readonly unknown[] = [
  9_007_199_254_740_993n,
  -(2n ** 200n),
  10n ** 400n,
  0,
  1.5e-7,
  new Date(Date.UTC(2026, 1, 28, 23, 59, 59, 789)),
  new Uint8Array([0, 255, 65]),
  new WireDecimal('1.10'),
  new WireUuid('0b3c8a52-4f1e-4f35-9a56-1c8a0e8f2d11'),
  new WireDate('2024-02-29'),
  new WireTime('13:05:06.000789'),
];
/** Of those, what Celery 5.2 sends as itself. */
const PLAIN_FROM_PYTHON = 5;

const listed = (names: readonly string[]): string => names.join(' ') || 'none';

/** Programs by what they pass; `isRefused` = the compiler must not let it through. */
const PROGRAMS: Readonly<Record<string, { readonly isRefused: boolean; readonly text: string }>> = {
  ormInstance: { isRefused: true, text: 'class User { id = 1; save(): void {} }\napp.fn("t", (user: User) => user.id);' },
  function: { isRefused: true, text: 'app.fn("t", (done: () => void) => done());' },
  method: { isRefused: true, text: 'app.fn("t", (row: { id: number; save(): void }) => row.id);' },
  map: { isRefused: true, text: 'app.fn("t", (rows: Map<string, number>) => rows.size);' },
  set: { isRefused: true, text: 'app.fn("t", (rows: readonly Set<string>[]) => rows.length);' },
  symbol: { isRefused: true, text: 'app.fn("t", (which: symbol) => String(which));' },
  error: { isRefused: true, text: 'app.fn("t", (why: Error) => why.message);' },
  result: { isRefused: true, text: 'app.fn("t", () => new Map<string, number>());' },
  wrongArgument: { isRefused: true, text: 'void app.fn("t", (id: string) => id).send(42);' },
  forgottenArgument: { isRefused: true, text: 'void app.fn("t", (id: string, at: Date) => [id, at]).send("42");' },
  forgottenSend: { isRefused: true, text: 'const task = app.fn("t", (id: string) => id);\ntask("42");' },
  plainData: {
    isRefused: false,
    text: 'interface Row { readonly id: number; readonly tags: string[]; readonly note?: string }\nvoid app.fn("t", (row: Row) => row.id).send({ id: 1, tags: [] });',
  },
  typedValues: {
    isRefused: false,
    text: 'void app.fn("t", (at: Date, raw: Uint8Array, big: bigint) => [at, raw, big]).send(new Date(), new Uint8Array(1), 1n);',
  },
};

/** Compiles each as a file of its own, as a user's project does; names of those that the compiler complains of. */
async function refusedByCompiler(folder: string): Promise<ReadonlySet<string>> {
  mkdirSync(join(folder, 'node_modules'), { recursive: true });
  symlinkSync(ROOT.replace(/\/$/, ''), join(folder, 'node_modules/lovage'), 'junction');
  for (const [name, { text }] of Object.entries(PROGRAMS))
    writeFileSync(
      join(folder, `${name}.mts`),
      `import { createApp } from 'lovage';\nconst app = createApp({ name: 'a' });\n${text}\n`,
    );
  const compilerOptions = {
    ...{ strict: true, module: 'nodenext', target: 'es2023', noEmit: true, skipLibCheck: true },
    ...{ types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] },
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.mts'] }));
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc');
  const run = promisify(execFile)(process.execPath, [compiler, '-p', folder, '--pretty', 'false'], { cwd: folder });
  const output = await run.then(
    ({ stdout }) => stdout,
    (error: { readonly stdout?: string }) => error.stdout ?? '',
  );
  const complaints = output.split('\n').flatMap((line) => /^(\w+)\.mts\(\d+,\d+\): error TS/.exec(line)?.[1] ?? []);
  if (output.includes('error TS') && complaints.length === 0)
    throw new Error(`the compiler did not get to the programs: ${output}`);
  return new Set(complaints);
}

async function playCompiler(kit: Kit): Promise<void> {
  const refused = await refusedByCompiler(join(kit.folder, 'project'));
  const wrong = (isRefused: boolean): string =>
    listed(Object.keys(PROGRAMS).filter((name) => PROGRAMS[name]?.isRefused === isRefused && refused.has(name) !== isRefused));
  kit.claim('programs that must not compile, and do', wrong(true), { equals: 'none' });
  kit.claim('programs that must compile, and do not', wrong(false), { equals: 'none' });
}

/** Every value in several places, as types cannot see it; nothing of it may reach the broker. */
async function playRefused(kit: Kit): Promise<void> {
  const { brokerUrl, resultUrl } = kit.broker;
  const app = createApp({ name: 'drill-arguments', broker: brokerUrl, results: resultUrl, logger: silentLogger });
  const task = app.remote<Remote, unknown>(TASK, { queue: REFUSED_QUEUE });
  const peeking = await openBroker({ url: brokerUrl, logger: silentLogger, role: 'client' });
  const depth = async (): Promise<number | null> => (await peeking.depth([REFUSED_QUEUE]))[0]?.ready ?? null;
  const places = [
    { path: 'args[1]', args: (value: unknown) => ['label', value] },
    { path: 'args[0].order.row', args: (value: unknown) => [{ order: { row: value } }] },
    { path: 'args[0][2]', args: (value: unknown) => [[1, 2, value]] },
  ];
  const taken: string[] = [];
  const otherwise: string[] = [];
  const unnamed: string[] = [];
  try {
    await peeking.declare(REFUSED_QUEUE);
    for (const [name, { make, code, below = '' }] of Object.entries(REFUSED))
      for (const { path, args } of places) {
        const told = `${name} in ${path}`;
        try {
          await task.send(...args(make()));
          taken.push(told);
        } catch (thrown) {
          const { code: was, message } = thrown as Error & { readonly code?: string };
          if (was !== code) otherwise.push(`${told}: ${was}`);
          // what is too large as a whole has no path
          if (code === 'E_NOT_SERIALISABLE' && !message.includes(`${path}${below} `)) unnamed.push(`${told}: ${message}`);
        }
      }
    kit.claim('refused values in all places', Object.keys(REFUSED).length * places.length, { atLeast: 36 });
    kit.claim('values that must be refused, and were sent', listed(taken), { equals: 'none' });
    kit.claim('values that were refused with another code', listed(otherwise), { equals: 'none' });
    kit.claim('values that were refused without their path', listed(unnamed), { equals: 'none' });
    kit.claim('messages enqueued by refused sends', await depth(), { equals: 0 });
    await playRows(kit, task, depth);
  } finally {
    await peeking.close();
    await app.close();
  }
}

/** Of many rows only the bad ones are refused, and of a workflow with a bad part nothing is sent. */
async function playRows(kit: Kit, task: RemoteTask<Remote, unknown>, depth: () => Promise<number | null>): Promise<void> {
  const rows = [1, new Map(), 3].map((value) => ({ args: ['row', value] }));
  const results = await task.sendMany(rows).then(
    () => [],
    (error: unknown) => (error instanceof SendManyError ? error.results : []),
  );
  kit.claim('of three rows the second is refused', results.map(({ status }) => status).join(' '), { equals: 'sent failed sent' });
  kit.claim('messages enqueued by them', await depth(), { equals: 2 });
  const workflows = [
    async () => group([task.si('part', 1), task.si('part', new Map())]).send(),
    async () => chain(task.si('link', 1), task.si('link', new Map())).send(),
  ];
  const sent = await Promise.all(
    workflows.map((send) =>
      send().then(
        () => true,
        () => false,
      ),
    ),
  );
  kit.claim('workflows with a part that must be refused, and that were sent', sent.filter(Boolean).length, { equals: 0 });
  kit.claim('messages enqueued by them and by the rows', await depth(), { equals: 2 });
}

/** What a worker wrote, by label. */
function notesIn(file: string): ReadonlyMap<string, string> {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  return new Map(
    lines.map((line) => JSON.parse(line) as { label: string; text: string }).map(({ label, text }) => [label, text]),
  );
}

/** Waits until all have arrived, or half a minute, and claims that each is what it was. */
async function claimEqual(kit: Kit, way: string, file: string, expected: ReadonlyMap<string, string>): Promise<void> {
  const missing = (): string[] => [...expected.keys()].filter((label) => !notesIn(file).has(label));
  await until(() => missing().length === 0, 'all have arrived').catch(() => undefined);
  const notes = notesIn(file);
  const other = [...expected].filter(([label, text]) => notes.get(label) !== text);
  for (const [label, text] of other) kit.say(`${way}, ${label}: sent ${text}, arrived ${notes.get(label) ?? 'nothing'}`);
  kit.claim(`${way}: values that arrived as they were`, expected.size - other.length, { equals: expected.size });
}

async function playAllowed(kit: Kit): Promise<void> {
  const { brokerUrl, resultUrl } = kit.broker;
  const scene = new Scene(kit, 'arguments', '15s');
  const notes = `${scene.ledger.file}.arrived`;
  try {
    const fleet = await scene.fleet({ count: 1, app: APP });
    const task = scene.sender.app.remote<Remote, unknown>(TASK);
    await task.sendMany(ALLOWED.map(({ value }, index) => ({ args: [`ours ${index}`, value] })));
    const ours = new Map(ALLOWED.map(({ value }, index) => [`ours ${index}`, shown(value)]));
    await claimEqual(kit, 'TypeScript to TypeScript', notes, ours);
    if (kit.broker.name !== 'file')
      for (const version of VERSIONS.filter(hasCelery)) await playPython(kit, scene.queue, notes, version);
    kit.claim('workers that ended by themselves', fleet.crashes.length, { equals: 0 });
  } finally {
    await scene.close();
  }

  /** Both directions with one version of Celery. */
  async function playPython(kit: Kit, queue: string, arrived: string, version: (typeof VERSIONS)[number]): Promise<void> {
    const isPlain = version === '5.2';
    const ledger = join(kit.folder, `python-${version}`);
    const python = { folder: PYTHON_FOLDER, module: 'arguments_python', queue: PYTHON_QUEUE };
    const worker = await startPythonWorker(version, brokerUrl, resultUrl, python, { LOVAGE_DRILL_LEDGER: ledger });
    const json = isPlain ? ('plain' as const) : ('tagged' as const);
    const app = createApp({ name: 'drill-arguments', broker: brokerUrl, results: resultUrl, logger: silentLogger, json });
    try {
      const rows = ALLOWED.filter(({ plain }) => plain || !isPlain);
      const task = app.remote<Remote, unknown>(TASK, { queue: PYTHON_QUEUE });
      await task.sendMany(rows.map(({ value }, index) => ({ args: [`ours ${index}`, value] })));
      const toPython = new Map(rows.map((row, index) => [`ours ${index}`, row.python]));
      await claimEqual(kit, `TypeScript to Celery ${version}`, `${ledger}.arrived`, toPython);
      const env = { ...process.env, INTEROP_BROKER: brokerUrl, INTEROP_RESULTS: resultUrl, LOVAGE_DRILL_LEDGER: ledger };
      const script = join(PYTHON_FOLDER, 'arguments_python.py');
      await promisify(execFile)(PYTHONS[version], [script, 'send', queue, version], { env, cwd: PYTHON_FOLDER });
      const values = isPlain ? FROM_PYTHON.slice(0, PLAIN_FROM_PYTHON) : FROM_PYTHON;
      const fromPython = new Map(values.map((value, index) => [`from ${version}: ${index}`, shown(value)]));
      await claimEqual(kit, `Celery ${version} to TypeScript`, arrived, fromPython);
    } finally {
      await app.close();
      await worker.stop();
    }
  }
}

export const drill: Drill = {
  name: 'simple-arguments',
  scenario:
    'An instance of an ORM’s class, functions, Map, cycles, five megabytes and others are passed to tasks, in three places each; and dates, bytes, bigint and integers beyond 2^53, to and from Python too.',
  brokers: ['file', 'redis', 'rabbitmq'],
  testedOn: ['file', 'redis'],
  async run(kit) {
    await playCompiler(kit);
    await playRefused(kit);
    await playAllowed(kit);
  },
};
