/**
 * The broker conformance suite: every sentence of `brokers/broker.ts` as a test. A driver is finished when it passes.
 * What a driver cannot do is a gap with a reason, printed in the test's name; a gap that is not declared by the driver,
 * or a missing capability that is not named as a gap, fails. The tests are in `conformance/`.
 */
import { describe } from 'vitest';
import { broadcastingSuite } from './conformance/broadcasting.js';
import { type BrokerConformanceOptions, type BrokerFixture, defineBrokerSuite } from './conformance/broker-fixture.js';
import { changingSuite } from './conformance/changing.js';
import { consumingSuite } from './conformance/consuming.js';
import { deadLettersSuite } from './conformance/dead-letters.js';
import { dedupingSuite } from './conformance/deduping.js';
import { deferringSuite } from './conformance/deferring.js';
import { inboxesSuite } from './conformance/inboxes.js';
import { lossesSuite } from './conformance/losses.js';
import { pausingSuite } from './conformance/pausing.js';
import { publishingSuite } from './conformance/publishing.js';
import { queuesSuite } from './conformance/queues.js';
import { recoverySuite } from './conformance/recovery.js';
import { replayingSuite } from './conformance/replaying.js';
import { revokingSuite } from './conformance/revoking.js';
import { settlingSuite } from './conformance/settling.js';
import { waitingMessagesSuite } from './conformance/waiting-messages.js';

export {
  type BrokerConformanceOptions,
  type BrokerFixture,
  type ParkedEntry,
  parkedEntries,
} from './conformance/broker-fixture.js';

/**
 * Registers the suite with vitest.
 * @param open makes a fixture for each test; it is closed after it, whatever happens
 */
export function brokerConformance(name: string, open: () => Promise<BrokerFixture>, options: BrokerConformanceOptions): void {
  describe(`broker ${name}`, () => {
    const suite = defineBrokerSuite(open, options);
    publishingSuite(suite);
    dedupingSuite(suite);
    consumingSuite(suite);
    changingSuite(suite);
    settlingSuite(suite);
    deferringSuite(suite);
    recoverySuite(suite);
    lossesSuite(suite);
    deadLettersSuite(suite);
    replayingSuite(suite);
    revokingSuite(suite);
    queuesSuite(suite);
    waitingMessagesSuite(suite);
    pausingSuite(suite);
    broadcastingSuite(suite);
    inboxesSuite(suite);
  });
}
