/** The configuration page is the one that its table makes. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { configPage } from '../scripts/config-page.mjs';
import { CONFIG_SCHEMA } from '../src/app/config-schema.js';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

test('docs/reference/config.md is current; "npm run build && node scripts/config-page.mjs" writes it anew', () => {
  expect(readFileSync(join(ROOT, 'docs/reference/config.md'), 'utf8')).toBe(configPage(CONFIG_SCHEMA));
});
