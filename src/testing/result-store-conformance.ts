/**
 * The result-store conformance suite: every sentence of `results/result-store.ts` as a test. A driver is finished when
 * it passes. Gaps are named with a reason, printed in the test's name, and must be declared by the driver. The tests are
 * in `conformance/storing.ts` and `conformance/waiting.ts`.
 */
import { describe } from 'vitest';
import { chordsSuite } from './conformance/chords.js';
import { rememberingSuite } from './conformance/remembering.js';
import { defineResultSuite, type ResultStoreConformanceOptions, type ResultStoreFixture } from './conformance/result-fixture.js';
import { savingSuite } from './conformance/saving.js';
import { sendKeysSuite } from './conformance/send-keys.js';
import { stepsSuite } from './conformance/steps.js';
import { storingSuite } from './conformance/storing.js';
import { waitingSuite } from './conformance/waiting.js';

export type { ResultStoreConformanceOptions, ResultStoreFixture } from './conformance/result-fixture.js';

/**
 * Registers the suite with vitest.
 * @param open makes a fixture for each test; it is closed after it, whatever happens
 */
export function resultStoreConformance(
  name: string,
  open: () => Promise<ResultStoreFixture>,
  options: ResultStoreConformanceOptions = { gaps: [] },
): void {
  describe(`result store ${name}`, () => {
    const suite = defineResultSuite(open, options);
    storingSuite(suite);
    waitingSuite(suite);
    sendKeysSuite(suite);
    chordsSuite(suite);
    stepsSuite(suite);
    savingSuite(suite);
    rememberingSuite(suite);
  });
}
