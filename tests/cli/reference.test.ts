/** The page about the command line is made from the commands. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { builtCliPage } from '../../scripts/cli-page.mjs';

test('docs/reference/cli.md is current; "npm run build && node scripts/cli-page.mjs" writes it anew', async () => {
  expect(readFileSync('docs/reference/cli.md', 'utf8')).toBe(await builtCliPage());
});
