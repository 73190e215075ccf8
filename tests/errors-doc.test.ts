/** Holds the table of error codes and its page to each other, both ways, and to the code that uses them. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ERROR_CODES } from '../src/core/error-codes.js';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const page = readFileSync(join(ROOT, 'docs/reference/errors.md'), 'utf8');
const entries = [...page.matchAll(/^### (E_[A-Z_]+)\n(.*)\n\n((?:(?!^#).*\n?)+)/gm)].map(
  ([, code = '', meaning = '', advice = '']) => ({
    code,
    meaning,
    advice: advice.trim(),
  }),
);

/** Codes that no line of ours throws yet, with the reason. */
const NOT_THROWN: Readonly<Record<string, string>> = {};

test('every code of the table has an entry on the page, and every entry is a code, in the same order', () => {
  expect([...page.matchAll(/^### (.+)$/gm)].map(([, heading]) => heading)).toEqual(Object.keys(ERROR_CODES));
});

test('each entry begins with the words of the table', () => {
  expect(Object.fromEntries(entries.map(({ code, meaning }) => [code, meaning]))).toEqual(ERROR_CODES);
});

test('each entry goes on with what to do', () => {
  expect(entries.filter(({ advice }) => advice.length < 20).map(({ code }) => code)).toEqual([]);
});

test('every code is used by the code, unless it says why not', () => {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && !name.endsWith('error-codes.ts'))
    .map((name) => readFileSync(join(ROOT, 'src', name), 'utf8'))
    .join('\n');
  const unused = Object.keys(ERROR_CODES).filter((code) => !sources.includes(`'${code}'`));
  expect(unused).toEqual(Object.keys(NOT_THROWN));
});
