/**
 * Imports a user's module, TypeScript included, on the main thread or inside a worker thread. Owns the choice of the
 * TypeScript loader; knows nothing of apps. Next stop: `load-app.ts`.
 *
 * Order: the project's own tsx, our tsx (an optional dependency), Node's type stripping. Stripping comes last because
 * it refuses enums, decorators, path aliases and `./x.js` meaning `x.ts`, and because a failed import cannot be tried
 * again with another loader: Node keeps the failed half of the module graph.
 */
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import Module, { createRequire } from 'node:module';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** What turned TypeScript into JavaScript; `none` for JavaScript files. */
export type ModuleLoader = 'none' | 'project-tsx' | 'own-tsx' | 'type-stripping';

/** Thrown when this Node cannot run the file and no loader is installed. */
export class NoLoaderError extends Error {}

interface TsxEsmApi {
  register(options: { readonly tsconfig: string | false }): () => Promise<void>;
}
interface TsxCjsApi {
  register(): () => void;
}
type RequireExtension = (module: NodeModule, filename: string) => unknown;

const requireExtensions = (Module as unknown as { readonly _extensions: Record<string, RequireExtension> })._extensions;
const TYPESCRIPT = /\.[cm]?tsx?$/;

/** The nearest file of that name in the folder or above it. */
function findUp(name: string, folder: string): string | undefined {
  for (let at = folder; ; at = dirname(at)) {
    const candidate = join(at, name);
    if (existsSync(candidate)) return candidate;
    if (dirname(at) === at) return undefined;
  }
}

/** Whether Node would treat this file as CommonJS: by its extension, else by the nearest package.json. */
function isCommonJs(file: string): boolean {
  if (/\.c[jt]s$/.test(file)) return true;
  if (/\.m[jt]s$/.test(file)) return false;
  const manifest = findUp('package.json', dirname(file));
  if (manifest === undefined) return true;
  try {
    return (JSON.parse(readFileSync(manifest, 'utf8')) as { readonly type?: unknown }).type !== 'module';
  } catch {
    return true;
  }
}

/** What we use of tsx, as files to import. */
interface Tsx {
  readonly esm: string;
  readonly cjs: string;
}

/**
 * The tsx that `from` would get, if it has the interface we use (4.10 and later). Its exports are read by hand: we need
 * the files for `import` (on Node 20 the ones for `require` look for their hooks in the wrong folder), and a `require`
 * resolves the others.
 */
function findTsx(from: string): Tsx | undefined {
  try {
    const manifest = createRequire(from).resolve('tsx/package.json');
    const { exports } = JSON.parse(readFileSync(manifest, 'utf8')) as { readonly exports: Readonly<Record<string, unknown>> };
    const file = (entry: unknown): string => {
      if (typeof entry === 'string') return join(dirname(manifest), entry);
      const { import: chosen, default: fallback } = entry as { readonly import?: unknown; readonly default?: unknown };
      return file(chosen ?? fallback);
    };
    return { esm: file(exports['./esm/api']), cjs: file(exports['./cjs/api']) };
  } catch {
    return undefined;
  }
}

/** `dist` of this copy of Lovage (or `src` when it runs from source). */
const OWN_ROOT = realpathSync(fileURLToPath(new URL('../../', import.meta.url)));
const INSTALLED_COPY = `${sep}node_modules${sep}lovage${sep}dist${sep}`;

/**
 * tsx compiles ES modules that are `require`d to CommonJS. For Lovage that would make a second copy in the process,
 * with its own task context; so our own files keep going through Node's loader, which can require ES modules.
 */
function keepLovageSingle(native: RequireExtension): void {
  const compiled = requireExtensions['.js'] as RequireExtension;
  requireExtensions['.js'] = (module, filename) =>
    filename.startsWith(OWN_ROOT) || filename.includes(INSTALLED_COPY) ? native(module, filename) : compiled(module, filename);
}

/** Hooks are per thread and cannot be stacked: one registration serves every later import of the thread. */
let registered: ModuleLoader | undefined;

async function registerTsx(tsx: Tsx, file: string): Promise<void> {
  const tsconfig = findUp('tsconfig.json', dirname(file));
  const native = requireExtensions['.js'] as RequireExtension;
  // The CommonJS half takes its tsconfig from this variable only, and reads it once.
  const before = process.env.TSX_TSCONFIG_PATH;
  if (tsconfig !== undefined) process.env.TSX_TSCONFIG_PATH = tsconfig;
  try {
    ((await import(pathToFileURL(tsx.cjs).href)) as TsxCjsApi).register();
    ((await import(pathToFileURL(tsx.esm).href)) as TsxEsmApi).register({ tsconfig: tsconfig ?? false });
  } finally {
    if (before === undefined) delete process.env.TSX_TSCONFIG_PATH;
    else process.env.TSX_TSCONFIG_PATH = before;
  }
  keepLovageSingle(native);
}

/**
 * Chooses, and where needed registers, what runs this file in this thread.
 * @throws NoLoaderError when the file is TypeScript and nothing here can run it
 */
export async function prepareLoader(file: string): Promise<ModuleLoader> {
  if (!TYPESCRIPT.test(file)) return 'none';
  if (registered !== undefined) return registered;
  const projects = findTsx(file);
  const tsx = projects ?? findTsx(fileURLToPath(import.meta.url));
  if (tsx !== undefined) {
    await registerTsx(tsx, file);
    registered = projects === undefined ? 'own-tsx' : 'project-tsx';
    return registered;
  }
  if ((process.features as { readonly typescript?: unknown }).typescript) return 'type-stripping';
  throw new NoLoaderError(`Node ${process.versions.node} cannot run TypeScript by itself and tsx is not installed`);
}

/** Imports `file` (an absolute path) and returns its exports; for CommonJS the members of `module.exports`. Throws what the import throws. */
export async function loadModule(file: string, loader: ModuleLoader): Promise<Readonly<Record<string, unknown>>> {
  const commonJs = isCommonJs(file);
  const byTsx = loader === 'own-tsx' || loader === 'project-tsx';
  // Through require, because on Node 20 `import` of compiled CommonJS shows nothing but `default`.
  if (byTsx && commonJs) return createRequire(file)(file) as Record<string, unknown>;
  const exports = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
  const inner = exports.default;
  return commonJs && typeof inner === 'object' && inner !== null ? { ...inner, ...exports } : exports;
}
