/** What licence a package is under, by its manifest and by the words of its licence text. Pure; `analyse.ts` reads the files. */

/** The parts of a manifest that say something about licences. Old packages have an object, or a list under `licenses`. */
export interface LicenceFields {
  readonly license?: unknown;
  readonly licenses?: unknown;
}

/** A licence text is recognised by sentences that only it contains. Order does not matter: a file may hold several texts. */
const SENTENCES: readonly { readonly id: string; readonly all: readonly string[]; readonly none?: readonly string[] }[] = [
  {
    id: 'MIT',
    all: [
      'permission is hereby granted free of charge to any person obtaining a copy',
      'this permission notice shall be included',
    ],
    none: ['all advertising materials'],
  },
  {
    id: 'MIT-0',
    all: ['permission is hereby granted free of charge to any person obtaining a copy'],
    none: ['permission notice shall be included'],
  },
  {
    id: 'ISC',
    all: [
      'permission to use copy modify and or distribute this software for any purpose with or without fee is hereby granted provided that',
    ],
  },
  {
    id: 'ISC',
    all: [
      'permission to use copy modify and distribute this software for any purpose with or without fee is hereby granted provided that',
    ],
  },
  {
    id: '0BSD',
    all: ['permission to use copy modify and or distribute this software for any purpose with or without fee is hereby granted'],
    none: ['is hereby granted provided that'],
  },
  { id: 'Apache-2.0', all: ['apache license', 'version 2 0'] },
  {
    id: 'BSD-3-Clause',
    all: ['redistributions of source code must retain', 'endorse or promote products'],
    none: ['all advertising materials'],
  },
  {
    id: 'BSD-2-Clause',
    all: ['redistributions of source code must retain'],
    none: ['endorse or promote products', 'all advertising materials'],
  },
  { id: 'BSD-4-Clause', all: ['redistributions of source code must retain', 'all advertising materials'] },
  { id: 'MPL-2.0', all: ['mozilla public license', '2 0'], none: ['gnu general public license version 3'] },
  { id: 'BlueOak-1.0.0', all: ['blue oak model license'] },
  { id: 'CC0-1.0', all: ['cc0 1 0 universal'] },
  { id: 'CC-BY-4.0', all: ['creative commons attribution 4 0'] },
  { id: 'Unlicense', all: ['this is free and unencumbered software released into the public domain'] },
  { id: 'Python-2.0', all: ['python software foundation license version 2'] },
  {
    id: 'Zlib',
    all: [
      'this software is provided as is without any express or implied warranty',
      'altered source versions must be plainly marked',
    ],
  },
  { id: 'WTFPL', all: ['do what the fuck you want to public license'] },
  { id: 'EPL-2.0', all: ['eclipse public license v 2 0'] },
  { id: 'AGPL-3.0', all: ['gnu affero general public license version 3'] },
  { id: 'LGPL-3.0', all: ['gnu lesser general public license version 3'] },
  {
    id: 'GPL-3.0',
    all: ['gnu general public license version 3'],
    none: ['gnu lesser general public license version 3', 'mozilla public license'],
  },
  { id: 'GPL-2.0', all: ['gnu general public license version 2'] },
];

/** Lower case, words only: line breaks, quotes and decoration differ between copies of one licence. */
function plainWords(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, ' ')
    .trim();
}

/** SPDX ids of the licences whose text this is, sorted; empty when none is recognised. */
export function licencesInText(text: string): readonly string[] {
  const words = plainWords(text);
  const found = SENTENCES.filter(
    ({ all, none }) => all.every((part) => words.includes(part)) && !none?.some((part) => words.includes(part)),
  );
  return [...new Set(found.map(({ id }) => id))].sort();
}

function fieldText(value: unknown): string | null {
  if (typeof value === 'string') return value.trim() === '' ? null : value.trim();
  if (typeof value === 'object' && value !== null) return fieldText((value as { readonly type?: unknown }).type);
  return null;
}

/** The licence as the manifest states it, in one line; `null` when it states none. */
export function licenceField(manifest: LicenceFields): string | null {
  const one = fieldText(manifest.license);
  if (one !== null) return one;
  if (!Array.isArray(manifest.licenses)) return fieldText(manifest.licenses);
  const many = manifest.licenses.map(fieldText).filter((text) => text !== null);
  return many.length === 0 ? null : many.join(' OR ');
}

/** The file that a field such as `SEE LICENSE IN TERMS.md` points at. */
export function referredFile(field: string | null): string | null {
  return field === null ? null : (/^see licen[cs]e in (.+)$/i.exec(field)?.[1]?.trim() ?? null);
}

/** The SPDX ids in an expression such as `(MIT OR Apache-2.0)`; empty for prose. */
export function idsInField(field: string | null): readonly string[] {
  if (field === null || referredFile(field) !== null) return [];
  const ids = field.replace(/[()]/g, ' ').split(/\s+(?:AND|OR|WITH)\s+/i);
  return ids.map((id) => id.trim()).filter((id) => /^[A-Za-z0-9.+-]+$/.test(id) && !/^(UNLICENSED|UNKNOWN)$/i.test(id));
}

const sameFamily = (a: string, b: string): boolean => {
  const plain = (id: string): string => id.replace(/-(only|or-later)$/i, '').toLowerCase();
  return plain(a) === plain(b);
};

/** Whether what the manifest says and what the text says can both be true. */
export function agree(field: string | null, inText: readonly string[]): boolean {
  const ids = idsInField(field);
  if (ids.length === 0 || inText.length === 0) return true;
  return ids.some((id) => inText.some((other) => sameFamily(id, other)));
}

/** One name for the table: the manifest's word, else the text's, else `unknown`. */
export function verdict(field: string | null, inText: readonly string[]): string {
  if (idsInField(field).length > 0) return (field as string).replace(/^\((.*)\)$/, '$1');
  return inText.length > 0 ? inText.join(' AND ') : 'unknown';
}

/** Licences that ask more of a user than keeping a notice. */
export function isCopyleft(licence: string): boolean {
  return /\b(A?GPL|LGPL|SSPL|EUPL|OSL)\b/i.test(licence) && !/\bOR\b/i.test(licence);
}
