/** Holds the table of event types and its page to each other, both ways. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { COMMON_EVENT_FIELDS, EVENT_TYPES } from '../src/wire/event-types.js';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const page = readFileSync(join(ROOT, 'docs/reference/events.md'), 'utf8');

interface Section {
  readonly sent: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** The sections of the page by their headings. */
const sections = new Map<string, Section>(
  page
    .split(/^## /m)
    .slice(1)
    .map((text) => {
      const [heading = '', ...rest] = text.split('\n');
      const rows = [...text.matchAll(/^\| `(\w+)` \| (.*) \|$/gm)].map(([, field = '', words = '']) => [field, words] as const);
      const sent = rest.find((line) => line !== '' && !line.startsWith('|')) ?? '';
      return [heading, { sent, fields: Object.fromEntries(rows) }];
    }),
);

test('every type has a section with its words and fields, and every section is a type', () => {
  const { 'In every event': common, Others: others, ...types } = Object.fromEntries(sections);
  expect(types).toEqual(EVENT_TYPES);
  expect(Object.keys(types)).toEqual(Object.keys(EVENT_TYPES));
  expect(common?.fields).toEqual(COMMON_EVENT_FIELDS);
  expect(others?.sent).toContain('send_event');
});
