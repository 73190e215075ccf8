/**
 * The app of an app file: `./tasks.ts` or `./tasks.ts:name`. Shared by the command line and the executors. Owns every
 * message a person sees when a file does not load; the import itself is `load-module.ts`.
 */
import { existsSync, statSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { extname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { App } from '../../app/app.js';
import { ConfigError, codeOf, toError } from '../../core/errors.js';
import { loadModule, type ModuleLoader, NoLoaderError, prepareLoader } from './load-module.js';

/** An `--app` value in its parts. */
export interface AppFileSpec {
  /** Absolute path. */
  readonly file: string;
  /** The export to take; `null` = the only one that is an app. */
  readonly exportName: string | null;
}

const EXTENSIONS = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs'];
const WITH_EXPORT = /^(.+\.[cm]?[jt]sx?):([A-Za-z_$][\w$]*)$/;

/** Reads `path`, `path:export` or a `file:` URL; relative paths start at the current folder. Does not touch the disk. */
export function parseAppFile(spec: string): AppFileSpec {
  const match = WITH_EXPORT.exec(spec);
  const path = match?.[1] ?? spec;
  return { file: path.startsWith('file:') ? fileURLToPath(path) : resolve(path), exportName: match?.[2] ?? null };
}

const fail = (message: string, cause?: unknown): ConfigError =>
  new ConfigError('E_APP_FILE', message, cause === undefined ? undefined : { cause });

/** The path as people typed it, as far as possible. */
function shown(file: string): string {
  const short = relative(process.cwd(), file);
  return short === '' || short.startsWith('..') ? file : `./${short}`;
}

function mustExist(file: string): void {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat?.isFile()) {
    if (EXTENSIONS.includes(extname(file)) || /\.[jt]sx$/.test(file)) return;
    throw fail(`app file ${shown(file)} is no JavaScript or TypeScript: give a file that ends in ${EXTENSIONS.join(', ')}`);
  }
  if (stat?.isDirectory())
    throw fail(
      `app file ${shown(file)} is a folder: give the file in it that exports createApp(…), for example ${shown(file)}/tasks.ts`,
    );
  const near = EXTENSIONS.flatMap((extension) => [
    file + extension,
    file.slice(0, file.length - extname(file).length) + extension,
  ]).find((candidate) => existsSync(candidate));
  throw fail(
    `app file ${shown(file)} does not exist${near ? `: did you mean ${shown(near)}?` : ': give the path of the file that exports createApp(…)'}`,
  );
}

/** Where an error comes from, in words; the stack itself does not cross a thread. */
function origin(error: Error): string {
  const frame = error.stack?.split('\n').find((line) => /^\s+at .*[/\\]/.test(line) && !line.includes('node:'));
  return frame === undefined ? '' : ` (${frame.trim()})`;
}

/** What to do about an import that failed, in words; the cause keeps the stack. */
function loadFailure(file: string, error: Error, loader: ModuleLoader | null): ConfigError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const first = error.message.split('\n', 1)[0] ?? '';
  const says = (advice: string): ConfigError => fail(`app file ${shown(file)} could not be loaded: ${first}. ${advice}`, error);
  if (error instanceof NoLoaderError) {
    return says(
      'Install tsx in your project (npm install --save-dev tsx), use Node 22.18 or later, or compile the file to JavaScript',
    );
  }
  if (code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX' || (loader === 'type-stripping' && error instanceof SyntaxError)) {
    return says('Node only strips types; enums, decorators and the like need tsx: npm install --save-dev tsx');
  }
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') {
    const missing = /Cannot find (?:module|package) '([^']+)'/.exec(error.message)?.[1] ?? '';
    const isPath = /^[./]|^file:|^[A-Za-z]:\\/.test(missing);
    if (loader === 'type-stripping') {
      return says('Node only strips types; path aliases and .js specifiers that mean .ts need tsx: npm install --save-dev tsx');
    }
    if (isPath || isBuiltin(missing)) return says('Correct the import, or create the file');
    return says(
      `Install it (npm install ${missing.startsWith('@') ? missing.split('/').slice(0, 2).join('/') : missing.split('/')[0]}), or add the path alias to the nearest tsconfig.json`,
    );
  }
  if (/top-level await/i.test(error.message)) {
    return says('Top-level await needs an ES module: set "type": "module" in package.json, or name the file .mts');
  }
  if (code === 'ERR_REQUIRE_ESM' || /Cannot use import statement|Unexpected token 'export'/.test(error.message)) {
    return says('It is an ES module in a CommonJS package: set "type": "module" in package.json, or name the file .mts or .mjs');
  }
  if (/does not provide an export named/.test(error.message)) return says('Correct the import; a type needs "import type"');
  if (error.name === 'TransformError' || error instanceof SyntaxError || /^Transform failed/.test(error.message)) {
    const where = error.message.split('\n').slice(1, 4).join(' ').trim();
    return fail(`app file ${shown(file)} could not be loaded: ${where || first}. Correct the syntax error`, error);
  }
  return fail(`app file ${shown(file)} threw while it was loaded: ${error.name}: ${first}${origin(error)}`, error);
}

/** The same symbol in every copy of the package, so that an app of another copy is found too. */
const APP_BRAND = Symbol.for('lovage.app');
const isApp = (value: unknown): value is App => typeof value === 'object' && value !== null && APP_BRAND in value;

function pickApp(exports: Readonly<Record<string, unknown>>, exportName: string | null, file: string): App {
  const names = Object.keys(exports).filter((name) => name !== 'module.exports' && name !== '__esModule');
  const listed = names.length === 0 ? 'nothing' : names.slice(0, 10).join(', ') + (names.length > 10 ? ', …' : '');
  if (exportName !== null) {
    const chosen = exports[exportName];
    if (isApp(chosen)) return chosen;
    throw fail(
      `app file ${shown(file)}: ${exportName in exports ? `the export '${exportName}' is no app` : `there is no export '${exportName}'`} (it exports ${listed})`,
    );
  }
  const found = names.filter((name) => isApp(exports[name]));
  const apps = new Set(found.map((name) => exports[name] as App));
  const [only] = apps;
  if (only === undefined)
    throw fail(`app file ${shown(file)} exports no app (it exports ${listed}): write "export const app = createApp({ … })"`);
  if (apps.size > 1)
    throw fail(
      `app file ${shown(file)} exports several apps (${found.join(', ')}): pick one, for example --app ${shown(file)}:${found[0]}`,
    );
  return only;
}

/**
 * Loads an app file and finds the app among its exports.
 * @param spec a path, `path:export`, or a `file:` URL; relative paths start at the current folder
 * @param exportName the export to take; `null` = what `spec` names, else the only one that is an app
 * @throws ConfigError `E_APP_FILE` that names the fix; `E_CONFIG_*` of the app's own options pass through
 */
export async function loadAppFile(spec: string, exportName: string | null = null): Promise<App> {
  const parsed = parseAppFile(spec);
  const { file } = parsed;
  mustExist(file);
  let loader: ModuleLoader | null = null;
  let exports: Readonly<Record<string, unknown>>;
  try {
    loader = await prepareLoader(file);
    exports = await loadModule(file, loader);
  } catch (thrown) {
    const code = codeOf(thrown);
    // What createApp itself refuses is told best by its own message.
    if (code?.startsWith('E_CONFIG_') || code === 'E_TASK_NAME_TAKEN') throw thrown;
    throw loadFailure(file, toError(thrown), loader);
  }
  return pickApp(exports, exportName ?? parsed.exportName, file);
}
