/** The demo's own logic: licences, packages, the summary and the ledger's verdict. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { analysePackage, findPackages } from '../../demo/analyse.js';
import { judge, parseLedger, unfinishedOf } from '../../demo/ledger.js';
import { agree, idsInField, isCopyleft, licenceField, licencesInText, referredFile, verdict } from '../../demo/licence.js';
import { differences, summarise } from '../../demo/summary.js';

const MIT = readFileSync(fileURLToPath(new URL('../../LICENSE', import.meta.url)), 'utf8');
const ISC =
  'Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, provided that the above';
const BSD_2 = 'Redistributions of source code must retain the above copyright notice';
const BSD_3 = `${BSD_2}. Neither the name of X nor the names of its contributors may be used to endorse or promote products`;

describe('licence texts', () => {
  test.each([
    ['MIT', MIT, ['MIT']],
    ['MIT in capitals, on one line, with other quotes', MIT.toUpperCase().replace(/\s+/g, ' ').replaceAll('"', '“'), ['MIT']],
    ['MIT without the notice clause', MIT.replace(/The above copyright[\s\S]*?Software\.\n/, ''), ['MIT-0']],
    ['ISC', ISC, ['ISC']],
    ['ISC without its condition', ISC.replace(', provided that the above', '.'), ['0BSD']],
    ['BSD with two clauses', BSD_2, ['BSD-2-Clause']],
    ['BSD with three clauses', BSD_3, ['BSD-3-Clause']],
    [
      'BSD whose third clause says "may not be used"',
      `${BSD_2}. The names of any contributors may not be used to endorse or promote products`,
      ['BSD-3-Clause'],
    ],
    ['Apache', 'Apache License\n  Version 2.0, January 2004', ['Apache-2.0']],
    ['MPL', 'Mozilla Public License Version 2.0', ['MPL-2.0']],
    ['Blue Oak', '# Blue Oak Model License\n\nVersion 1.0.0', ['BlueOak-1.0.0']],
    ['CC0', 'CC0 1.0 Universal', ['CC0-1.0']],
    ['Unlicense', 'This is free and unencumbered software released into the public domain.', ['Unlicense']],
    ['GPL', 'GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007', ['GPL-3.0']],
    ['two texts in one file', `${MIT}\n\n${BSD_2}`, ['BSD-2-Clause', 'MIT']],
    ['prose', 'All rights reserved.', []],
  ])('%s', (_, text, ids) => {
    expect(licencesInText(text)).toEqual(ids);
  });
});

describe('licence fields', () => {
  test.each([
    [{ license: 'MIT' }, 'MIT'],
    [{ license: { type: 'BSD-2-Clause', url: 'x' } }, 'BSD-2-Clause'],
    [{ licenses: [{ type: 'MIT' }, { type: 'Apache-2.0' }] }, 'MIT OR Apache-2.0'],
    [{ license: ' ' }, null],
    [{ license: 7 }, null],
    [{}, null],
  ])('%j reads as %j', (manifest, text) => {
    expect(licenceField(manifest)).toBe(text);
  });

  test('expressions are taken apart, prose is not', () => {
    expect(idsInField('(MIT OR Apache-2.0) AND CC0-1.0')).toEqual(['MIT', 'Apache-2.0', 'CC0-1.0']);
    expect(idsInField('see the web site')).toEqual([]);
    expect(idsInField('UNLICENSED')).toEqual([]);
    expect(referredFile('SEE LICENSE IN TERMS.md')).toBe('TERMS.md');
  });

  test('field and text agree when one of the alternatives is the one in the text', () => {
    expect(agree('(MIT OR GPL-3.0-or-later)', ['GPL-3.0'])).toBe(true);
    expect(agree('MIT', ['Apache-2.0'])).toBe(false);
    expect(agree('MIT', [])).toBe(true);
  });

  test('the verdict takes the field first, then the text', () => {
    expect(verdict('(MIT OR Apache-2.0)', ['MIT'])).toBe('MIT OR Apache-2.0');
    expect(verdict(null, ['ISC'])).toBe('ISC');
    expect(verdict('ask us', [])).toBe('unknown');
    expect(isCopyleft('GPL-3.0-only')).toBe(true);
    expect(isCopyleft('MIT OR GPL-3.0')).toBe(false);
  });
});

describe('packages', () => {
  let root: string;
  const write = (path: string, content: string | object): void => {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    writeFileSync(join(root, path), typeof content === 'string' ? content : JSON.stringify(content));
  };
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'lovage-demo-test-'));
    write('node_modules/plain/package.json', { name: 'plain', version: '1.0.0', license: 'MIT' });
    write('node_modules/plain/LICENSE', MIT);
    write('node_modules/plain/lib/a.js', 'x'.repeat(100));
    write('node_modules/plain/node_modules/nested/package.json', { name: 'nested', version: '2.0.0' });
    write('node_modules/@scope/liar/package.json', {
      name: '@scope/liar',
      version: '0.1.0',
      license: 'MIT',
      scripts: { postinstall: 'node x' },
    });
    write('node_modules/@scope/liar/LICENCE.txt', BSD_2);
    write('node_modules/native/package.json', { name: 'native', version: '3.0.0', license: 'SEE LICENSE IN TERMS.md' });
    write('node_modules/native/TERMS.md', 'Apache License, Version 2.0');
    write('node_modules/native/binding.gyp', '{}');
    write('node_modules/.bin/tool', '');
    write('node_modules/not-a-package/readme', '');
    symlinkSync(join(root, 'node_modules/plain'), join(root, 'node_modules/link'), 'dir');
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test('finds scoped and nested packages, not links, tools or folders without a manifest', async () => {
    expect(await findPackages(root)).toEqual([
      'node_modules/@scope/liar',
      'node_modules/native',
      'node_modules/plain',
      'node_modules/plain/node_modules/nested',
    ]);
  });

  test('measures a package without its nested ones', async () => {
    const report = await analysePackage(root, 'node_modules/plain');
    expect(report).toMatchObject({ name: 'plain', version: '1.0.0', licence: 'MIT', files: 3, suspicious: [] });
    expect(report.bytes).toBe(100 + MIT.length + readFileSync(join(root, 'node_modules/plain/package.json')).length);
  });

  test('the fingerprint follows the contents', async () => {
    const before = await analysePackage(root, 'node_modules/native');
    expect(await analysePackage(root, 'node_modules/native')).toEqual(before);
    write('node_modules/native/binding.gyp', '[]');
    expect((await analysePackage(root, 'node_modules/native')).fingerprint).not.toBe(before.fingerprint);
  });

  test.each([
    ['node_modules/@scope/liar', ['field says MIT, text says BSD-2-Clause', 'install script: postinstall']],
    ['node_modules/plain/node_modules/nested', ['no licence at all']],
    ['node_modules/native', ['install script: node-gyp (binding.gyp)']],
  ])('says what is suspicious about %s', async (path, suspicious) => {
    expect((await analysePackage(root, path)).suspicious).toEqual(suspicious);
  });

  test('the summary does not depend on the order, and differences are named', async () => {
    const reports = await Promise.all((await findPackages(root)).map((path) => analysePackage(root, path)));
    const summary = summarise(reports);
    expect(summarise(reports.toReversed())).toEqual(summary);
    expect(summary.licences).toEqual([
      ['MIT', 2],
      ['Apache-2.0', 1],
      ['unknown', 1],
    ]);
    expect(differences(summary, summarise(reports))).toEqual([]);
    const wrong = differences(
      summary,
      summarise(reports.slice(1).map((report) => (report.name === 'plain' ? { ...report, bytes: 1 } : report))),
    );
    expect(wrong).toHaveLength(2);
    expect(wrong[0]).toMatch(/liar: no result/);
  });
});

describe('the ledger', () => {
  const ledger = parseLedger(
    [
      'started a 1',
      'done a 1',
      'started b 1',
      'started b 2',
      'done b 2',
      'started c 2',
      'done c 2',
      'started c 2',
      'done c 2',
      'started d 1',
      'noise',
      'done d',
    ].join('\n'),
  );
  test('counts what ran, what the kill repeats, and what it does not explain', () => {
    expect(judge(['a', 'b', 'c', 'd'], ledger, 1)).toEqual({ sent: 4, run: 3, twiceByKill: 1, twiceUnexplained: 1, lost: 1 });
  });
  test('without a kill no repetition is explained', () => {
    expect(judge(['b', 'c'], ledger, null)).toMatchObject({ twiceByKill: 0, twiceUnexplained: 2, lost: 0 });
  });
  test('knows what a process has begun and not ended', () => {
    expect([unfinishedOf(ledger, 1), unfinishedOf(ledger, 2)]).toEqual([2, 0]);
  });
});
