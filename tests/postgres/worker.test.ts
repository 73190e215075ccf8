/** Workers on the embedded file with their results in PostgreSQL. */
import { join } from 'node:path';
import { workerCases } from './worker-cases.js';

workerCases('the file broker', async (folder) => ({ url: `file:${join(folder, 'queue.db')}`, stop: async () => {} }));
