/**
 * The package as a user gets it: packed, unpacked into a project of its own without any optional package, and used.
 * Needs a build (`npm run build`; `npm test` makes one).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly bin: Record<string, string>;
  readonly exports: Record<string, string | { readonly types: string; readonly default: string }>;
  readonly dependencies: Record<string, string>;
  readonly optionalDependencies: Record<string, string>;
  readonly peerDependencies: Record<string, string>;
  readonly peerDependenciesMeta: Record<string, { readonly optional: boolean }>;
};
const optional = Object.keys({ ...manifest.optionalDependencies, ...manifest.peerDependencies });

let project: string;
let packed: readonly string[];

/** Runs a module in the user's project and returns what it printed. */
function run(code: string, ...args: string[]): string {
  const file = join(project, 'main.mjs');
  writeFileSync(file, code);
  const result = spawnSync(process.execPath, [file, ...args], {
    cwd: project,
    encoding: 'utf8',
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
  });
  if (result.status !== 0) throw new Error(result.stderr || `ended with ${result.status}`);
  return result.stdout.trim();
}

beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'lovage-package-'));
  const listing = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', project], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  const [{ filename, files }] = JSON.parse(listing) as [
    { readonly filename: string; readonly files: readonly { readonly path: string }[] },
  ];
  packed = files.map((file) => file.path);
  const modules = join(project, 'node_modules');
  mkdirSync(join(modules, 'lovage'), { recursive: true });
  execFileSync('tar', ['-xzf', join(project, filename), '-C', join(modules, 'lovage'), '--strip-components=1']);
  // Every installed package except the optional ones: what `npm i lovage --omit=optional` brings, and its dependencies.
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    if (!name.startsWith('.') && !optional.some((one) => one.split('/')[0] === name))
      symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  }
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

describe('the manifest', () => {
  test('has at most 8 regular dependencies', () => {
    expect(Object.keys(manifest.dependencies).length).toBeLessThanOrEqual(8);
  });

  test('marks every peer as optional', () => {
    expect(Object.keys(manifest.peerDependenciesMeta).sort()).toEqual(Object.keys(manifest.peerDependencies).sort());
    expect(Object.values(manifest.peerDependenciesMeta).every((peer) => peer.optional)).toBe(true);
  });

  test('points at files that are in the package', () => {
    const targets = [
      ...Object.values(manifest.bin),
      ...Object.values(manifest.exports).flatMap((one) => (typeof one === 'string' ? [one] : [one.types, one.default])),
    ];
    expect(targets.filter((target) => !packed.includes(target.replace('./', '')))).toEqual([]);
  });

  test('packs the build, the read-me, the changelog and the licence, and no test, source or secret', () => {
    expect(packed).toEqual(expect.arrayContaining(['README.md', 'CHANGELOG.md', 'LICENSE', 'package.json']));
    const strange = packed.filter(
      (path) =>
        !/^(dist\/.+\.(js|d\.ts|js\.map)|README\.md|CHANGELOG\.md|LICENSE|package\.json)$/.test(path) || path.includes('.test.'),
    );
    expect(strange).toEqual([]);
  });

  test('packs nothing that imports a package which only our own tests have', () => {
    const regular = new Set([...Object.keys(manifest.dependencies), ...optional]);
    const foreign = packed
      .filter((path) => path.endsWith('.js'))
      .flatMap((path) =>
        [
          ...readFileSync(join(project, 'node_modules/lovage', path), 'utf8').matchAll(
            /^(?:import|export)\b[^'";]*?from '([^'.][^']*)'/gm,
          ),
        ]
          .map((match) => match[1] ?? '')
          .filter(
            (name) =>
              !name.startsWith('node:') &&
              !regular.has(name.startsWith('@') ? name.split('/', 2).join('/') : (name.split('/')[0] ?? '')),
          )
          .map((name) => `${path} imports ${name}`),
      );
    expect(foreign).toEqual([]);
  });
});

describe('the lock file', () => {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<
      Record<string, { readonly version?: string; readonly optionalDependencies?: Record<string, string> }>
    >;
  };

  test('has an entry for every optional package of every platform: npm ci refuses a lock without them, on every machine', () => {
    const missing = Object.entries(lock.packages).flatMap(([path, entry]) =>
      Object.keys(entry.optionalDependencies ?? {})
        .filter((name) => !lock.packages[`${path}/node_modules/${name}`] && !lock.packages[`node_modules/${name}`])
        .map((name) => `${path || 'this package'} asks for ${name}`),
    );
    expect(missing).toEqual([]);
  });

  test('names no registry host', () => {
    expect(Object.values(lock.packages).filter((entry) => 'resolved' in entry)).toEqual([]);
  });
});

describe('in a project without any optional package', () => {
  const subpaths = Object.keys(manifest.exports).filter((subpath) => subpath !== './package.json');

  test.each(subpaths)("'lovage%s' can be imported and prints nothing", (subpath) => {
    expect(
      run(
        `const names = Object.keys(await import('lovage${subpath.slice(1)}')); if (names.length === 0) throw new Error('no names');`,
      ),
    ).toBe('');
  });

  test.each(['typescript', 'typescript-5.9'])('its declarations compile with %s even without skipLibCheck', (compiler) => {
    const imports = subpaths.map((subpath, index) => `export * as part${index} from 'lovage${subpath.slice(1)}';`);
    writeFileSync(join(project, 'consumer.ts'), imports.join('\n'));
    const options = [
      '--strict',
      '--noEmit',
      '--target',
      'es2022',
      '--module',
      'nodenext',
      '--lib',
      'es2023,esnext.disposable',
      '--types',
      'node',
      '--skipLibCheck',
      'false',
    ];
    const tsc = spawnSync(process.execPath, [join(ROOT, 'node_modules', compiler, 'bin/tsc'), ...options, 'consumer.ts'], {
      cwd: project,
      encoding: 'utf8',
    });
    // Only our own files: what other packages declare is theirs.
    expect(
      tsc.stdout.split('\n').filter((line) => line.includes('node_modules/lovage/') || line.startsWith('consumer.ts')),
    ).toEqual([]);
  });

  test('require() of the package works on a Node that can require modules', () => {
    const text = `import { createRequire } from 'node:module';
      if (!process.features.require_module) console.log('function'); else console.log(typeof createRequire(import.meta.url)('lovage').createApp);`;
    expect(run(text)).toBe('function');
  });

  test.each([
    ['broker', 'redis://127.0.0.1:1', 'ioredis'],
    ['broker', 'amqp://127.0.0.1:1', 'amqplib'],
    ['results', 'postgresql://127.0.0.1:1', 'pg'],
  ])('a %s URL %s asks for the package %s by name', (option, url, name) => {
    const text = `import { createApp } from 'lovage';
      const app = createApp({ name: 'shop', broker: 'memory:', ${option}: ${JSON.stringify(url)} });
      const add = app.fn('add', (x, y) => x + y);
      try { await (await add.send(1, 2)).result({ timeout: '5s' }); } catch (error) { console.log(JSON.stringify({ code: error.code, message: error.message })); }
      await app.close();`;
    const error = JSON.parse(run(text)) as { code: string; message: string };
    expect(error.code).toBe('E_DRIVER_MISSING');
    expect(error.message).toContain(`npm i ${name}`);
  });

  test('the memory broker runs a task to its result', () => {
    const text = `import { createApp } from 'lovage';
      const app = createApp({ name: 'shop', broker: 'memory:' });
      const add = app.fn('add', (x, y) => x + y);
      const worker = await app.worker({ pool: 'inline' });
      console.log(await (await add.send(2, 3)).result({ timeout: '5s' }));
      await worker.close();
      await app.close();`;
    expect(run(text).split('\n').at(-1)).toBe('5');
  });

  test('the command says its version', () => {
    const bin = join(project, 'node_modules/lovage', manifest.bin['lovage'] ?? '');
    expect(existsSync(bin)).toBe(true);
    const version = (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;
    expect(execFileSync(process.execPath, [bin, '--version'], { encoding: 'utf8' }).trim()).toContain(version);
  });
});
