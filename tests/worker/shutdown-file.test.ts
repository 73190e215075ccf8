/** A stop on the file broker; the cases are in shutdown-cases.ts. */
import { join } from 'node:path';
import { shutdownSuite } from './shutdown-cases.js';

const url = (folder: string): string => `file:${join(folder, 'queue.db')}`;

shutdownSuite('file', false, async () => ({ brokerUrl: url, resultUrl: url, outage: null, close: async () => {} }));
