/**
 * App files of every kind on every supported Node: on the main thread, in a worker thread, in a child process. Each case runs the built
 * package in a process of its own, on a copy of the fixture in a project that has `lovage` in its node_modules.
 */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');
const PROBE = join(ROOT, 'tests/loading/probe.mjs');
const run = promisify(execFile);

/** This Node, and those that `npm run setup:nodes` put into the project. */
const nodes = [{ version: process.versions.node, binary: process.execPath }];
for (const major of ['20', '22', '24']) {
  if (process.versions.node.startsWith(`${major}.`)) continue;
  const binary = join(ROOT, '.lovage/nodes', major, 'node_modules/node/bin/node');
  if (existsSync(binary)) nodes.push({ version: major, binary });
}

let project: string;

beforeAll(() => {
  project = realpathSync(mkdtempSync(join(tmpdir(), 'lovage-loading-')));
  cpSync(join(ROOT, 'tests/fixtures/loading'), project, { recursive: true });
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(ROOT, join(project, 'node_modules/lovage'), 'dir');
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

interface Found {
  readonly name?: string;
  readonly answer?: string;
  readonly sameCopy?: boolean;
  readonly code?: string;
  readonly message?: string;
}

async function load(binary: string, mode: 'main' | 'thread' | 'process', file: string, root: string = ROOT): Promise<Found> {
  const { stdout } = await run(binary, [PROBE, root, mode, file], {
    cwd: project,
    env: { PATH: process.env.PATH ?? '' },
    timeout: 20_000,
  });
  return JSON.parse(stdout) as Found;
}

test('every supported Node is there in CI', () => {
  if (process.env.CI !== 'true') return expect(nodes.length).toBeGreaterThan(0);
  expect(nodes.map(({ version }) => version.split('.')[0]).sort()).toEqual(['20', '22', '24']);
});

const FIXTURES = [
  { kind: 'enum', file: 'enum/tasks.ts', answer: 'red' },
  { kind: 'decorator', file: 'decorator/tasks.ts', answer: 'send' },
  { kind: 'js-specifier', file: 'js-specifier/tasks.ts', answer: 'twice 4' },
  { kind: 'path-alias', file: 'path-alias/tasks.ts', answer: 'thrice 6' },
  { kind: 'cjs', file: 'cjs/tasks.ts', answer: 'tasks.ts 8' },
  { kind: 'cts', file: 'cjs/tasks.cts', answer: 'cts 8' },
  { kind: 'plain-cjs', file: 'cjs/plain.cjs', answer: 'plain 2' },
] as const;

describe.each(nodes)('on Node $version', ({ binary }) => {
  describe.each(['main', 'thread', 'process'] as const)('%s', (mode) => {
    test.each(FIXTURES)('loads an app file with $kind, and with one copy of lovage', async ({ kind, file, answer }) => {
      expect(await load(binary, mode, join(project, file))).toEqual({ name: kind, answer, sameCopy: true });
    });
  });

  test("takes the project's own tsx when there is one", async () => {
    const own = join(project, 'own-tsx');
    mkdirSync(join(own, 'node_modules/tsx/api'), { recursive: true });
    cpSync(join(project, 'enum'), own, { recursive: true });
    const real = (kind: string): string =>
      JSON.stringify(pathToFileURL(join(ROOT, `node_modules/tsx/dist/${kind}/api/index.mjs`)).href);
    const exports = {
      './package.json': './package.json',
      './esm/api': { import: { default: './esm.mjs' } },
      './cjs/api': './cjs.mjs',
    };
    writeFileSync(join(own, 'node_modules/tsx/package.json'), JSON.stringify({ name: 'tsx', exports }));
    for (const kind of ['esm', 'cjs']) {
      writeFileSync(
        join(own, `node_modules/tsx/${kind}.mjs`),
        `process.stderr.write('own ${kind}\\n'); export * from ${real(kind)};`,
      );
    }
    const { stdout, stderr } = await run(binary, [PROBE, ROOT, 'main', join(own, 'tasks.ts')], { cwd: project, timeout: 20_000 });
    expect(JSON.parse(stdout)).toMatchObject({ answer: 'red' });
    expect(stderr).toContain('own esm');
    rmSync(own, { recursive: true });
  });
});

describe('what cannot load names the fix', () => {
  const cases: readonly {
    readonly name: string;
    readonly files: Readonly<Record<string, string>>;
    readonly app: string;
    readonly says: RegExp;
  }[] = [
    { name: 'a file that is not there', files: {}, app: 'nothing.ts', says: /does not exist: give the path/ },
    { name: 'a file named without its extension', files: { 'near.ts': '' }, app: 'near', says: /did you mean .*near\.ts\?/ },
    { name: 'a folder', files: { 'folder/a.ts': '' }, app: 'folder', says: /is a folder: give the file in it/ },
    { name: 'a file of another kind', files: { 'tasks.py': '' }, app: 'tasks.py', says: /no JavaScript or TypeScript/ },
    {
      name: 'a syntax error',
      files: { 'broken.ts': 'export const app = ;' },
      app: 'broken.ts',
      says: /broken\.ts:1:19.*Correct the syntax error/s,
    },
    {
      name: 'a missing package',
      files: { 'm.mts': "import 'no-such-package/x';" },
      app: 'm.mts',
      says: /npm install no-such-package\)/,
    },
    {
      name: 'a missing file',
      files: { 'm2.mts': "import './gone.js';" },
      app: 'm2.mts',
      says: /Correct the import, or create the file/,
    },
    {
      name: 'a file without an app',
      files: { 'n.mts': 'export const x = 1;' },
      app: 'n.mts',
      says: /exports no app \(it exports x\)/,
    },
    {
      name: 'a file that throws',
      files: { 't.mts': "throw new TypeError('no database');" },
      app: 't.mts',
      says: /threw while it was loaded: TypeError: no database/,
    },
    {
      name: 'top-level await in CommonJS',
      files: { 'a.cts': 'await 1;' },
      app: 'a.cts',
      says: /Top-level await needs an ES module/,
    },
    {
      name: 'several apps',
      files: {
        's.mts':
          "import { createApp } from 'lovage'; export const a = createApp({ name: 'a' }); export const b = createApp({ name: 'b' });",
      },
      app: 's.mts',
      says: /several apps \(a, b\): pick one, for example --app .*s\.mts:a/,
    },
    {
      name: 'an export that is not there',
      files: { 'n.mts': 'export const x = 1;' },
      app: 'n.mts:app',
      says: /no export 'app' \(it exports x\)/,
    },
  ];
  test.each(cases)('$name', async ({ files, app, says }) => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(join(project, path, '..'), { recursive: true });
      writeFileSync(join(project, path), text);
    }
    const found = await load(process.execPath, 'main', join(project, app));
    expect(found.message).toMatch(says);
    expect(found.code).toBe('E_APP_FILE');
  });

  test('an option that createApp refuses keeps its own code', async () => {
    writeFileSync(join(project, 'c.mts'), "import { createApp } from 'lovage'; export const app = createApp({ nam: 'typo' });");
    expect(await load(process.execPath, 'main', join(project, 'c.mts'))).toMatchObject({ code: 'E_CONFIG_UNKNOWN_KEY' });
  });

  test('one of several apps can be picked by name', async () => {
    writeFileSync(
      join(project, 'two.mts'),
      "import { createApp } from 'lovage'; export const a = createApp({ name: 'a' }); export const b = createApp({ name: 'b' });",
    );
    expect(await load(process.execPath, 'main', `${join(project, 'two.mts')}:b`)).toMatchObject({ name: 'b' });
  });
});

describe.each(nodes)('without any tsx, on Node $version', ({ version, binary }) => {
  // A copy of the package whose tsx cannot be found: dist, and every dependency but tsx.
  let bare: string;
  beforeAll(() => {
    bare = join(project, 'bare');
    mkdirSync(join(bare, 'node_modules'), { recursive: true });
    cpSync(join(ROOT, 'dist'), join(bare, 'dist'), { recursive: true });
    cpSync(join(ROOT, 'package.json'), join(bare, 'package.json'));
    for (const name of ['pino', 'picocolors'])
      symlinkSync(join(ROOT, 'node_modules', name), join(bare, 'node_modules', name), 'dir');
    mkdirSync(join(bare, 'project/node_modules'), { recursive: true });
    symlinkSync(bare, join(bare, 'project/node_modules/lovage'), 'dir');
    writeFileSync(join(bare, 'project/package.json'), '{ "type": "module" }');
    const plain = "import { createApp } from 'lovage';\nexport const app = createApp({ name: 'plain', broker: 'memory:' });\n";
    writeFileSync(
      join(bare, 'project/plain.ts'),
      `${plain}export const check = app.fn('check', (n: number): string => \`plain \${n}\`);\n`,
    );
    writeFileSync(join(bare, 'project/enum.ts'), `${plain}export enum Colour { Red }\n`);
    writeFileSync(join(bare, 'project/specifier.ts'), `${plain}import './plain2.js';\n`);
    writeFileSync(join(bare, 'project/plain2.ts'), '');
  });
  afterAll(() => rmSync(bare, { recursive: true, force: true }));

  if (Number(version.split('.')[0]) >= 22) {
    test('type stripping runs plain TypeScript', async () => {
      expect(await load(binary, 'thread', join(bare, 'project/plain.ts'), bare)).toEqual({
        name: 'plain',
        answer: 'plain 2',
        sameCopy: true,
      });
    });
    test('an enum, which stripping refuses, names tsx as the fix', async () => {
      expect((await load(binary, 'main', join(bare, 'project/enum.ts'), bare)).message).toMatch(
        /need tsx: npm install --save-dev tsx/,
      );
    });
    test('a .js specifier that means .ts names tsx as the fix', async () => {
      expect((await load(binary, 'main', join(bare, 'project/specifier.ts'), bare)).message).toMatch(
        /need tsx: npm install --save-dev tsx/,
      );
    });
  } else {
    test('TypeScript names tsx, a newer Node or compiling as the fix', async () => {
      const found = await load(binary, 'main', join(bare, 'project/plain.ts'), bare);
      expect(found).toMatchObject({ code: 'E_APP_FILE' });
      expect(found.message).toMatch(/npm install --save-dev tsx.*Node 22\.18.*compile/);
    });
  }
});
