/** Holds `docs/reference/wire.md` to the code: its snippet is cut from an example that runs, its names are exported. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as wire from './index.js';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const page = read('docs/reference/wire.md');

test('the code of the page is part of the example it names', () => {
  const blocks = [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
  expect(blocks).toHaveLength(1);
  for (const block of blocks) {
    const example = /^\/\/ (examples\/[\w-]+\.ts)\n/.exec(block)?.[1] ?? '';
    expect(read(example)).toContain(block.slice(block.indexOf('\n') + 1));
  }
});

test('every function that the page names is exported, and every exported function that reads or writes is named', () => {
  const named = new Set(
    [...page.matchAll(/`((?:encode|decode|parse|read|make|merge|upgrade|to|from)[A-Z]\w*)`/g)].map((match) => match[1] ?? ''),
  );
  expect([...named].filter((name) => !(name in wire))).toEqual([]);
  const exported = Object.keys(wire).filter((name) => /^(?:encode|decode|parse[A-Z]\w*Sig|upgrade)/.test(name));
  expect(exported.filter((name) => !named.has(name))).toEqual([]);
});
