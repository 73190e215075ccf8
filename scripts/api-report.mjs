// @ts-check
/**
 * Compares the public names and types of the built package with the reports in `etc/`, one report an entry point of
 * package.json. A change of the API is then a change of a file that a reviewer sees. `--fix` writes the reports.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Extractor, ExtractorConfig } from '@microsoft/api-extractor';
import { ROOT } from './environment.mjs';

const fix = process.argv.includes('--fix');
const packageJson = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const base = ExtractorConfig.loadFile(join(ROOT, 'api-extractor.json'));

mkdirSync(join(ROOT, 'etc'), { recursive: true });
let stale = 0;
for (const [subpath, target] of Object.entries(packageJson.exports)) {
  if (typeof target === 'string') continue; // package.json itself
  const report = `lovage${subpath.slice(1).replaceAll('/', '-')}.api.md`;
  const types = join(ROOT, target.types);
  if (!existsSync(types)) {
    console.error(`${subpath}: ${target.types} was not built`);
    stale += 1;
    continue;
  }
  const config = ExtractorConfig.prepare({
    configObject: {
      ...base,
      mainEntryPointFilePath: types,
      apiReport: { ...base.apiReport, enabled: true, reportFileName: report },
    },
    configObjectFullPath: join(ROOT, 'api-extractor.json'),
    packageJsonFullPath: join(ROOT, 'package.json'),
  });
  const result = Extractor.invoke(config, {
    localBuild: fix,
    messageCallback(message) {
      // The comparison below says what is to be done; the rest is for the curious.
      if (message.logLevel !== 'error' || message.messageId === 'console-api-report-not-copied') message.handled = true;
    },
  });
  if (result.apiReportChanged && !fix) {
    console.error(
      `The public API of 'lovage${subpath.slice(1)}' differs from etc/${report}. Look at the difference, then run: npm run check -- --fix`,
    );
    stale += 1;
  } else if (result.errorCount > 0) {
    console.error(`The public API of 'lovage${subpath.slice(1)}' could not be read.`);
    stale += 1;
  } else {
    console.log(`etc/${report} ${result.apiReportChanged ? 'written' : 'is current'}`);
  }
}
process.exitCode = stale > 0 ? 1 : 0;
