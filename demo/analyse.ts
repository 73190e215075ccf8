/**
 * Looks at one installed package: licence, size, fingerprint, and what deserves a second look. Reads files only; runs
 * the same in a task and in the direct computation that the demo checks itself against.
 */
import { createHash } from 'node:crypto';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  agree,
  idsInField,
  isCopyleft,
  type LicenceFields,
  licenceField,
  licencesInText,
  referredFile,
  verdict,
} from './licence.js';

/** What is known of one package after a look at it. */
export interface PackageReport {
  /** Folder below the root, with slashes: tells nested copies apart. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  readonly files: number;
  readonly bytes: number;
  /** SHA-256 over names and contents, first 16 digits. */
  readonly fingerprint: string;
  readonly suspicious: readonly string[];
}

interface Manifest extends LicenceFields {
  readonly name?: unknown;
  readonly version?: unknown;
  readonly scripts?: unknown;
}

const HUGE_BYTES = 10 * 1024 * 1024;
/** No licence is longer; what is, is a list of notices of which the start is enough. */
const LICENCE_TEXT_BYTES = 256 * 1024;
const CHUNK_BYTES = 1024 * 1024;
const LICENCE_FILE = /^(licen[cs]e|copying|unlicense|notice)([-._].*)?$/i;
const INSTALL_SCRIPTS = ['preinstall', 'install', 'postinstall'];

const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Every file below a folder, sorted; nested `node_modules` are other packages, links lead elsewhere. */
async function filesBelow(folder: string, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  const entries = await readdir(join(folder, prefix), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => byName(a.name, b.name))) {
    const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    if (entry.isDirectory()) {
      if (entry.name !== 'node_modules') found.push(...(await filesBelow(folder, path)));
    } else if (entry.isFile()) {
      found.push(path);
    }
  }
  return found;
}

async function hashInto(hash: ReturnType<typeof createHash>, path: string, buffer: Buffer): Promise<number> {
  const file = await open(path);
  try {
    let bytes = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) return bytes;
      hash.update(buffer.subarray(0, bytesRead));
      bytes += bytesRead;
    }
  } finally {
    await file.close();
  }
}

async function readText(path: string): Promise<string> {
  return (await readFile(path)).subarray(0, LICENCE_TEXT_BYTES).toString('utf8');
}

/** All licence texts of a package, put together. */
async function licenceText(folder: string, files: readonly string[], field: string | null): Promise<string> {
  const referred = referredFile(field)?.replace(/^\.\//, '');
  const texts = files.filter((file) => (!file.includes('/') && LICENCE_FILE.test(file)) || file === referred);
  return (await Promise.all(texts.map((file) => readText(join(folder, file))))).join('\n');
}

function installScripts(manifest: Manifest, files: readonly string[]): string[] {
  const scripts = typeof manifest.scripts === 'object' && manifest.scripts !== null ? Object.keys(manifest.scripts) : [];
  const found = INSTALL_SCRIPTS.filter((name) => scripts.includes(name));
  // npm runs node-gyp by itself where it sees this file.
  return found.length === 0 && files.includes('binding.gyp') ? ['node-gyp (binding.gyp)'] : found;
}

function licenceDoubts(field: string | null, text: string, inText: readonly string[]): string[] {
  const doubts: string[] = [];
  if (field === null) doubts.push(text === '' ? 'no licence at all' : 'no licence field');
  else if (idsInField(field).length === 0 && referredFile(field) === null)
    doubts.push(`licence field is no SPDX id: ${field.slice(0, 60)}`);
  if (field !== null && text === '') doubts.push('no licence text');
  if (text !== '' && inText.length === 0) doubts.push('licence text not recognised');
  if (!agree(field, inText)) doubts.push(`field says ${field}, text says ${inText.join(', ')}`);
  const licence = verdict(field, inText);
  if (isCopyleft(licence)) doubts.push(`copyleft: ${licence}`);
  return doubts;
}

/** @param path the package's folder below `root`, with slashes */
export async function analysePackage(root: string, path: string): Promise<PackageReport> {
  const folder = join(root, path);
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
  const files = await filesBelow(folder);
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  const huge: string[] = [];
  let bytes = 0;
  for (const file of files) {
    hash.update(`${file}\0`);
    const size = await hashInto(hash, join(folder, file), buffer);
    if (size > HUGE_BYTES) huge.push(`huge file ${file}`);
    bytes += size;
  }
  const field = licenceField(manifest);
  const text = await licenceText(folder, files, field);
  const inText = licencesInText(text);
  const scripts = installScripts(manifest, files);
  return {
    path,
    name: typeof manifest.name === 'string' ? manifest.name : path,
    version: typeof manifest.version === 'string' ? manifest.version : '?',
    licence: verdict(field, inText),
    files: files.length,
    bytes,
    fingerprint: hash.digest('hex').slice(0, 16),
    suspicious: [
      ...licenceDoubts(field, text, inText),
      ...(scripts.length > 0 ? [`install script: ${scripts.join(', ')}`] : []),
      ...huge,
    ],
  };
}

/** Every package below `root`/node_modules, scoped and nested ones too, sorted by path. */
export async function findPackages(root: string, folder = 'node_modules'): Promise<string[]> {
  const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
  const found: string[] = [];
  for (const entry of entries) {
    if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
    const path = `${folder}/${entry.name}`;
    if (entry.name.startsWith('@')) {
      found.push(...(await findPackages(root, path)));
      continue;
    }
    const inside = new Set(await readdir(join(root, path)));
    if (inside.has('package.json')) found.push(path);
    if (inside.has('node_modules')) found.push(...(await findPackages(root, `${path}/node_modules`)));
  }
  return found.sort(byName);
}
