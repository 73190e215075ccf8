/** Holds the pages to the repository: links lead somewhere, commands exist, every page can be found. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

const pages = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
].sort();

/** Targets of a page's relative links, as paths from the project's folder. */
function linksOf(page: string): string[] {
  const prose = read(page).replace(/```[\s\S]*?```/g, '');
  return [...prose.matchAll(/\]\(([^)#\s]+)(#[^)]*)?\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => normalize(join(dirname(page), target)));
}

describe('the pages', () => {
  test.each(pages)('every link of %s leads to a file', (page) => {
    expect(linksOf(page).filter((target) => !existsSync(join(ROOT, target)))).toEqual([]);
  });

  test('every page is linked from another one', () => {
    const linked = new Set(pages.flatMap((page) => linksOf(page).filter((target) => target !== page)));
    expect(pages.filter((page) => page !== 'README.md' && !linked.has(page))).toEqual([]);
  });

  test('every npm script that a page names exists', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const wrong = pages.flatMap((page) =>
      [...read(page).matchAll(/npm run ([a-z][a-z:-]*)/g)].flatMap((match) =>
        scripts[match[1] ?? ''] ? [] : [`${page}: npm run ${match[1]}`],
      ),
    );
    expect(wrong).toEqual([]);
  });

  test('every source file that a page names in backquotes exists', () => {
    const wrong = pages.flatMap((page) =>
      [...read(page).matchAll(/`((?:src|tests|scripts|examples)\/[\w./-]+)`/g)]
        .map((match) => match[1] ?? '')
        .filter((path) => !existsSync(join(ROOT, path)))
        .map((path) => `${page}: ${path}`),
    );
    expect(wrong).toEqual([]);
  });
});

describe('the guide on workers', () => {
  const page = read('docs/guides/workers.md');

  test('quotes log lines that a worker writes', () => {
    const lines = [...page.matchAll(/^\| `([^`]+)` \| (?:info|warn|error) \|/gm)].map((match) => match[1] ?? '');
    const sources = readdirSync(join(ROOT, 'src/worker'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => read(join('src/worker', name)))
      .join('\n');
    expect(lines.length).toBeGreaterThan(5);
    expect(lines.filter((line) => !sources.includes(`'${line}'`))).toEqual([]);
  });

  test('names only exit codes that exist', async () => {
    const { EXIT_CODES } = await import('../src/cli/exit-codes.js');
    const codes = [...page.matchAll(/^\| (\d+) \|/gm)].map((match) => match[1] ?? '');
    expect(codes.length).toBeGreaterThan(5);
    expect(codes.filter((code) => !(code in EXIT_CODES))).toEqual([]);
  });
});

describe('.ci/run', () => {
  test("runs exactly the README's test command, then the checks, then the line that counts both", () => {
    const command = /^(LOVAGE_SETUP=1 .+?)\s+#/m.exec(read('README.md'))?.[1];
    expect(command).toBe('LOVAGE_SETUP=1 npm cit');
    const lines = read('.ci/run')
      .split('\n')
      .filter((line) => /^[^#\s]/.test(line));
    const order = [`${command} </dev/null`, 'npm run check </dev/null', 'node scripts/total.mjs "$tests" "$checks"'].map((line) =>
      lines.indexOf(line),
    );
    expect(order.every((place) => place >= 0)).toBe(true);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(lines).toContain('export CI=true');
  });
});

describe('the suites', () => {
  test('the table of everyday commands names only suites that exist', async () => {
    const { SUITES } = await import('../scripts/suites.mjs');
    const named = /`npm test -- ([a-z ]+)`/.exec(read('CONTRIBUTING.md'))?.[1]?.split(' ') ?? [];
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !SUITES.some((suite) => suite.name === name))).toEqual([]);
  });

  test('every test file belongs to exactly one suite', async () => {
    const { testFiles } = await import('../scripts/suites.mjs');
    const all = [...testFiles().values()].flat();
    expect(new Set(all).size).toBe(all.length);
    expect(all).toContain(relative(ROOT, fileURLToPath(import.meta.url)));
  });
});
