// @ts-check
/**
 * Writes docs/reference/config.md from the table of options (`src/app/config-schema.ts`): `node scripts/config-page.mjs`.
 * `tests/config-doc.test.ts` tells when the page is out of date. Reads the built table, so it needs a build.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from './environment.mjs';

/**
 * @typedef {object} Entry
 * @property {string} type
 * @property {string | number | boolean | null} default
 * @property {string | null} env
 * @property {string | null} flag
 * @property {readonly string[]} [choices]
 * @property {string} doc
 */

/** @param {string} text */
const cell = (text) => text.replaceAll('|', '\\|');

/** @param {Entry} entry */
function typeOf(entry) {
  const choices = entry.choices?.map((choice) => `\`'${choice}'\``).join(' or ');
  if (entry.type === 'boolean | choice') return `\`true\`, \`false\` or ${choices}`;
  if (choices) return choices;
  return entry.type === 'duration | false' ? 'duration or `false`' : entry.type;
}

/** @param {Entry} entry */
function defaultOf(entry) {
  if (entry.default === null) return '';
  if (typeof entry.default === 'boolean') return `\`${entry.default}\``;
  return typeof entry.default === 'number' ? entry.default.toLocaleString('en-US') : `\`'${entry.default}'\``;
}

/**
 * The page as text.
 * @param {Readonly<Record<string, Entry>>} schema
 */
export function configPage(schema) {
  const rows = Object.entries(schema).map(
    ([key, entry]) => `| \`${key}\` | ${cell(typeOf(entry))} | ${cell(defaultOf(entry))} | ${cell(entry.doc)} |`,
  );
  const outside = Object.entries(schema)
    .filter(([, entry]) => entry.env || entry.flag)
    .map(([key, entry]) => `| \`${key}\` | ${entry.env ? `\`${entry.env}\`` : ''} | ${entry.flag ? `\`${entry.flag}\`` : ''} |`);
  return `# Configuration

<!-- Made by scripts/config-page.mjs from src/app/config-schema.ts: change it there. -->

The options of \`createApp\`. A key that does not exist is an error (\`E_CONFIG_UNKNOWN_KEY\`) that names the nearest one.
\`undefined\` counts as not given. Durations are text with a unit: \`'250ms'\`, \`'30s'\`, \`'5m'\`, \`'2h'\`, \`'1d'\`.

| option | type | default | what it does |
|---|---|---|---|
${rows.join('\n')}

## From outside

An option that is given in code counts before the environment, and the environment before the default. A flag of the
command line counts before all of them.

| option | environment | flag |
|---|---|---|
${outside.join('\n')}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { CONFIG_SCHEMA } = await import('../dist/app/config-schema.js');
  writeFileSync(join(ROOT, 'docs/reference/config.md'), configPage(CONFIG_SCHEMA));
}
