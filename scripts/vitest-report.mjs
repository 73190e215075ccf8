// @ts-check
/**
 * A vitest reporter for `test.mjs`: leaves the counts of a run in the file named by LOVAGE_TEST_REPORT. The readable
 * progress is vitest's own. A file that could not be loaded and an error outside of tests count as failures.
 */
import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { ROOT } from './environment.mjs';

/** @typedef {{ passed: number, failed: number, skipped: number, failures: string[], skips: string[], idle: string[] }} Report */

/** Whoever sees only the end of a run's output needs them there. @param {readonly { message: string }[] | undefined} errors */
const reasons = (errors = []) => errors.map(({ message }) => `: ${message.replace(/\s+/g, ' ').slice(0, 400)}`).join('');

export default class CountReporter {
  /**
   * @param {readonly import('vitest/node').TestModule[]} modules
   * @param {readonly unknown[]} errors
   */
  onTestRunEnd(modules, errors) {
    /** @type {Report} `idle`: files in which no test ran */
    const report = { passed: 0, failed: 0, skipped: 0, failures: [], skips: [], idle: [] };
    for (const module of modules) {
      const file = relative(ROOT, module.moduleId);
      let ran = 0;
      for (const test of module.children.allTests()) {
        const state = test.result().state;
        if (state === 'passed') report.passed += 1;
        else if (state === 'skipped') report.skips.push(`${file} > ${test.fullName}`);
        else report.failures.push(`${file} > ${test.fullName}${reasons(test.result().errors)}`);
        if (state !== 'skipped') ran += 1;
      }
      // A hook that throws leaves its tests skipped and its error on the suite.
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors()) report.failures.push(`${file} > ${suite.fullName}: ${error.message.split('\n')[0]}`);
      }
      for (const error of module.errors()) report.failures.push(`${file}: ${error.message.split('\n')[0]}`);
      if (ran === 0 && module.errors().length === 0) report.idle.push(file);
    }
    for (const error of errors)
      report.failures.push(`outside of tests: ${String(/** @type {any} */ (error)?.message ?? error).split('\n')[0]}`);
    report.failed = report.failures.length;
    report.skipped = report.skips.length;
    if (process.env['LOVAGE_TEST_REPORT']) writeFileSync(process.env['LOVAGE_TEST_REPORT'], JSON.stringify(report));
  }
}
