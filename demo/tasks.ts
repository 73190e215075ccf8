/** The demo's app: one task that looks at one installed package. `lovage worker --app demo/tasks.ts` runs it. */
import { appendFileSync } from 'node:fs';
import { createApp, taskContext } from 'lovage';
import { analysePackage } from './analyse.js';

/** Broker and result store come from LOVAGE_BROKER_URL and LOVAGE_RESULT_URL. */
export const app = createApp({ name: 'demo', defaultQueue: 'lovage-demo' });

/**
 * Analyses the package in `path` below `root`. Every start and every end is noted in `ledger`, a file outside Lovage
 * that is only appended to: the demo judges by it what really ran.
 */
export const analyse = app.fn(
  'demo.analyse',
  async (root: string, path: string, ledger: string) => {
    const { id } = taskContext();
    appendFileSync(ledger, `started ${id} ${process.pid}\n`);
    const report = await analysePackage(root, path);
    appendFileSync(ledger, `done ${id} ${process.pid}\n`);
    return report;
  },
  { params: ['root', 'path', 'ledger'] },
);
