/** Schedulers as processes on the embedded file. */
import { join } from 'node:path';
import { beatCases } from './beat-cases.js';

beatCases('file', async (project) => ({ url: `file:${join(project.folder, 'queue.db')}`, close: async () => {} }));
