/**
 * Test runner set-up: one project a suite, from the table in `scripts/suites.mjs`.
 * `npx vitest run path` runs single files; `npm test` runs everything, on every promised Node version.
 */
import { defineConfig } from 'vitest/config';
import { SUITES } from './scripts/suites.mjs';

const named = SUITES.flatMap((suite) =>
  suite.folders.map((prefix) => (prefix.endsWith('/') ? `${prefix}**/*.test.ts` : `${prefix}*.test.ts`)),
);
// Set by scripts/test.mjs: files whose server is not here. They are named at the end of the run, never skipped in silence.
const left = (process.env['LOVAGE_TEST_EXCLUDE'] ?? '').split(',').filter(Boolean);
const fixtures = ['**/node_modules/**', '**/fixtures/**'];

export default defineConfig({
  test: {
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    projects: SUITES.map((suite) => ({
      extends: true,
      test: {
        name: suite.name,
        include:
          suite.folders.length === 0
            ? ['src/**/*.test.ts', 'tests/**/*.test.ts']
            : suite.folders.map((prefix) => (prefix.endsWith('/') ? `${prefix}**/*.test.ts` : `${prefix}*.test.ts`)),
        exclude: [...fixtures, ...left, ...(suite.folders.length === 0 ? named : [])],
      },
    })),
  },
});
