/** Remote control over the memory broker; the cases are in worker-cases.ts. */
import { controlSuite } from './worker-cases.js';

controlSuite('memory', async () => ({ brokerUrl: 'memory:control', resultUrl: 'memory:control', close: async () => {} }));
