/**
 * Holds the architecture: which folder may import which, who may load a client library, how long a file may be.
 * To change the architecture, change the tables here, and the map in ARCHITECTURE.md with them.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Left to right: a folder may import itself and everything in the rows above it, types included, and nothing else. */
const LAYERS: readonly (readonly string[])[] = [
  ['core'],
  ['wire', 'clients'],
  ['canvas', 'brokers', 'results'],
  ['app'],
  ['control', 'events'],
  ['worker', 'beat', 'gateway'],
  ['dashboard'],
  ['cli'],
  ['index.ts'],
];
/** Beside the layers: may import anything, and only tests import it. */
const BESIDE = 'testing';

/** Walls inside or across layers that the table above does not show. `types`: whether type imports count too. */
const WALLS: readonly { readonly from: string; readonly to: readonly string[]; readonly types: boolean; readonly why: string }[] =
  [
    { from: 'worker/engine/', to: ['worker/executor/', 'app/'], types: true, why: 'the engine runs no user code' },
    {
      from: 'worker/executor/',
      to: ['worker/engine/', 'clients/', 'brokers/', 'results/'],
      types: false,
      why: 'an executor holds no connection',
    },
    ...['memory', 'file', 'redis', 'rabbitmq'].map((driver) => ({
      from: `brokers/${driver}/`,
      to: ['memory', 'file', 'redis', 'rabbitmq'].filter((other) => other !== driver).map((other) => `brokers/${other}/`),
      types: true,
      why: 'drivers do not know each other',
    })),
    ...['memory', 'file', 'redis', 'postgres', 'rpc'].map((driver) => ({
      from: `results/${driver}/`,
      to: ['memory', 'file', 'redis', 'postgres', 'rpc'].filter((other) => other !== driver).map((other) => `results/${other}/`),
      types: true,
      why: 'drivers do not know each other',
    })),
    ...['file', 'redis', 'postgres'].map((driver) => ({
      from: `beat/stores/${driver}/`,
      to: ['file', 'redis', 'postgres'].filter((other) => other !== driver).map((other) => `beat/stores/${other}/`),
      types: true,
      why: 'drivers do not know each other',
    })),
  ];

/** Libraries and the one folder that may import them. */
const OWNED: Readonly<Record<string, string>> = {
  ioredis: 'clients/',
  amqplib: 'clients/',
  pg: 'clients/',
  libsql: 'clients/',
  'better-sqlite3': 'clients/',
  'node:sqlite': 'clients/',
  commander: 'cli/',
  'cli-table3': 'cli/',
  pino: 'core/',
};

/** What code without I/O, clock and chance must not mention. */
const PURE = ['wire/', 'canvas/', 'beat/schedules/'];
const IMPURE =
  /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\brandomUUID\b|\bperformance\.now\(|\bsetTimeout\(|\bsetInterval\(|\bprocess\.(?!env\b)|\bfetch\(/;
const PURE_MODULES = /^node:(zlib|buffer|util|crypto)$/;
/** Exceptions, each with its reason. */
const PURE_EXCEPT: Readonly<Record<string, string>> = {
  'wire/serializers/registry.ts node:module':
    'loads the optional msgpack and yaml packages, synchronously, when they are turned on',
};

const LONGEST_FILE = 320;

interface Import {
  readonly line: number;
  readonly specifier: string;
  /** Erased by the compiler: `import type`, `export type … from`, `typeof import()`. */
  readonly typeOnly: boolean;
  /** Loaded when it is needed: `await import()`, or the file of a thread. */
  readonly lazy: boolean;
}

/** The same text with comments blanked, so that line numbers stay. Strings with `//` in them are left alone. */
function withoutComments(text: string): string {
  const token = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;
  return text.replace(token, (part) => (part.startsWith('/*') || part.startsWith('//') ? part.replace(/[^\n]/g, ' ') : part));
}

/** Every way in which a source file can name another one. */
function importsOf(text: string): Import[] {
  const code = withoutComments(text);
  const found: Import[] = [];
  const add = (match: RegExpMatchArray, specifier: string | undefined, typeOnly: boolean, lazy: boolean): void => {
    if (specifier) found.push({ line: code.slice(0, match.index).split('\n').length, specifier, typeOnly, lazy });
  };
  for (const match of code.matchAll(/^[ \t]*(import|export)\s+(type\s+)?([^'";]*?\s+from\s+)?['"]([^'"]+)['"]/gm)) {
    const names = match[3] ?? '';
    const eachIsType = /^\{(\s*type\s+[^,}]+,?)+\s*\}\s*from/.test(names.trim());
    if (match[1] === 'import' || names) add(match, match[4], match[2] !== undefined || eachIsType, false);
  }
  for (const match of code.matchAll(/(typeof\s+)?\bimport\(\s*['"]([^'"]+)['"]\s*\)/g))
    add(match, match[2], match[1] !== undefined, true);
  for (const match of code.matchAll(/new URL\(\s*['"](\.[^'"]+\.js)['"]\s*,\s*import\.meta\.url/g))
    add(match, match[1], false, true);
  return found;
}

function filesUnder(folder: string, endings: RegExp): string[] {
  const top = join(ROOT, folder);
  return readdirSync(top, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((file) => !/(^|\/)(node_modules|fixtures)\//.test(file))
    .sort();
}

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const sources = filesUnder('src', /\.ts$/).filter((file) => !file.endsWith('.test.ts'));
/** A source file's imports of other source files, as paths from `src/`. */
const graph = new Map(
  sources.map((file) => {
    const imports = importsOf(read(file)).map((one) => ({
      ...one,
      target: one.specifier.startsWith('.')
        ? normalize(join(dirname(file), one.specifier))
            .replace(/\.js$/, '.ts')
            .replace(/^src\//, '')
        : null,
    }));
    return [file.replace(/^src\//, ''), imports] as const;
  }),
);

const folderOf = (path: string): string => path.split('/')[0] ?? path;
const layerOf = (path: string): number => LAYERS.findIndex((row) => row.includes(folderOf(path)));
const describeImport = (file: string, one: Import, why: string): string =>
  `src/${file}:${one.line} imports '${one.specifier}': ${why}`;

function offences(judge: (file: string, one: Import & { readonly target: string | null }) => string | null): string[] {
  return [...graph].flatMap(([file, imports]) =>
    imports.flatMap((one) => {
      const why = judge(file, one);
      return why ? [describeImport(file, one, why)] : [];
    }),
  );
}

describe('the layers', () => {
  test('every folder of src stands in the table', () => {
    const unknown = readdirSync(join(ROOT, 'src')).filter(
      (name) => layerOf(name) < 0 && name !== BESIDE && !name.endsWith('.test.ts'),
    );
    expect(unknown).toEqual([]);
  });

  test('imports, types included, point leftwards or stay inside their folder', () => {
    const wrong = offences((file, { target }) => {
      if (target === null || folderOf(file) === BESIDE || folderOf(file) === folderOf(target)) return null;
      if (folderOf(target) === BESIDE) return 'production code never imports src/testing';
      if (layerOf(target) < layerOf(file)) return null;
      return layerOf(target) === layerOf(file)
        ? `${folderOf(file)} and ${folderOf(target)} stand side by side; what both need moves down a layer`
        : `${folderOf(file)} stands left of ${folderOf(target)}`;
    });
    expect(wrong).toEqual([]);
  });

  test('the walls between the halves of the worker and between drivers hold', () => {
    const wrong = offences((file, { target, typeOnly }) => {
      const wall = WALLS.find(
        (one) => file.startsWith(one.from) && (one.types || !typeOnly) && one.to.some((to) => target?.startsWith(to)),
      );
      return wall?.why ?? null;
    });
    expect(wrong).toEqual([]);
  });

  test('a relative import names a file that exists', () => {
    const wrong = offences((_file, { target }) => (target !== null && !graph.has(target) ? 'there is no such file' : null));
    expect(wrong).toEqual([]);
  });

  test('nothing imports itself in a circle when it is loaded', () => {
    const state = new Map<string, 'open' | 'done'>();
    const circles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === 'done') return;
      if (state.get(file) === 'open') {
        circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
        return;
      }
      state.set(file, 'open');
      for (const one of graph.get(file) ?? []) {
        if (one.target !== null && !one.typeOnly && !one.lazy && graph.has(one.target)) visit(one.target, [...path, file]);
      }
      state.set(file, 'done');
    };
    for (const file of graph.keys()) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe('the libraries', () => {
  test('each client library is imported by its owner alone', () => {
    const wrong = offences((file, { specifier }) => {
      const owner = OWNED[specifier] ?? OWNED[specifier.split('/')[0] ?? ''];
      return owner !== undefined && !file.startsWith(owner) && folderOf(file) !== BESIDE ? `only src/${owner} may` : null;
    });
    expect(wrong).toEqual([]);
  });

  test('optional packages are imported lazily, so that nobody loads what their URL does not ask for', () => {
    const { optionalDependencies, peerDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    const optional = Object.keys({ ...optionalDependencies, ...peerDependencies });
    const eager = [...graph].flatMap(([file, imports]) =>
      imports
        .filter(
          (one) =>
            !one.typeOnly && !one.lazy && optional.some((name) => one.specifier === name || one.specifier.startsWith(`${name}/`)),
        )
        .map((one) => describeImport(file, one, 'an optional package: load it with await import()')),
    );
    expect(eager).toEqual([]);
  });

  test('wire, canvas and schedules do no I/O, read no clock and draw no random numbers', () => {
    const wrong = sources
      .map((file) => file.replace(/^src\//, ''))
      .filter((file) => PURE.some((folder) => file.startsWith(folder)))
      .flatMap((file) => {
        const inCode = withoutComments(read(`src/${file}`))
          .split('\n')
          .flatMap((line, index) => (IMPURE.test(line) ? [`src/${file}:${index + 1} ${line.trim()}`] : []));
        const modules = (graph.get(file) ?? [])
          .filter((one) => !one.typeOnly && one.specifier.startsWith('node:') && !PURE_MODULES.test(one.specifier))
          .filter((one) => PURE_EXCEPT[`${file} ${one.specifier}`] === undefined)
          .map((one) => describeImport(file, one, 'not pure'));
        return [...inCode, ...modules];
      });
    expect(wrong).toEqual([]);
  });
});

describe('the files', () => {
  const all = ['src', 'tests', 'scripts', 'examples', 'demo', 'bench'].flatMap((folder) => {
    try {
      return filesUnder(folder, /\.(ts|mjs)$/);
    } catch {
      return [];
    }
  });

  test('every file starts by saying what it owns', () => {
    const silent = all
      .filter((file) => !/^src\/.*\.test\.ts$/.test(file)) // the file beside it says it
      .filter((file) => !/^(\/\*\*|\/\/ (?!@ts-))/m.test(read(file).split('\n', 15).join('\n')));
    expect(silent).toEqual([]);
  });

  test(`no file is longer than ${LONGEST_FILE} lines unless its first comment says "Long because …"`, () => {
    const long = all.flatMap((file) => {
      const text = read(file);
      const lines = text.split('\n').length - 1;
      const firstComment = /\/\*\*[\s\S]*?\*\//.exec(text)?.[0] ?? '';
      return lines > LONGEST_FILE && !firstComment.includes('Long because') ? [`${file}: ${lines} lines`] : [];
    });
    expect(long).toEqual([]);
  });

  test('the package has named exports only', () => {
    const unnamed = sources.filter((file) => /^export (default\b|\* from)/m.test(withoutComments(read(file))));
    expect(unnamed).toEqual([]);
  });
});

describe('the import reader', () => {
  test('finds every form of import and tells types from values', () => {
    const text = [
      "import { a } from './a.js';",
      "import type { B } from './b.js';",
      "import { type C, type D } from './c.js';",
      "import { type E, f } from './e.js';",
      "export { g } from './g.js';",
      "import './h.js';",
      "const i = await import('./i.js');",
      "type J = typeof import('./j.js');",
      "// import { k } from './k.js';",
      "new Worker(new URL('./thread.js', import.meta.url));",
      'import {\n  l,\n  m,\n} from "./l.js";',
    ].join('\n');
    expect(
      importsOf(text)
        .map(({ specifier, typeOnly, lazy }) => `${specifier}${typeOnly ? ' (type)' : lazy ? ' (lazy)' : ''}`)
        .sort(),
    ).toEqual(
      [
        './a.js',
        './b.js (type)',
        './c.js (type)',
        './e.js',
        './g.js',
        './h.js',
        './i.js (lazy)',
        './j.js (type)',
        './l.js',
        './thread.js (lazy)',
      ].sort(),
    );
  });
});
