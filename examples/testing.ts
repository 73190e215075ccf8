/** Testing tasks without a server and without waiting. Run it: npx tsx examples/testing.ts (or use any test runner) */
import assert from 'node:assert/strict';
import { createApp } from 'lovage';
import { memoryApp } from 'lovage/testing';

// the code under test
const app = createApp({ name: 'shop', broker: 'redis://production.example' }); // its URL is not touched
const sendMail = app.fn('mail.send', (to: string, subject: string) => `${subject} to ${to}`);
let mailServerWorks = false;
const remind = app.fn(
  'remind',
  async (to: string) => {
    if (!mailServerWorks) throw new Error('mail server is down');
    await sendMail.send(to, 'reminder');
  },
  { retry: { max: 3, base: '1m', jitter: 'none' } },
);
async function signUp(email: string): Promise<void> {
  await sendMail.send(email, 'welcome');
  await remind.with({ countdown: '3d' }).send(email);
}

// the test
await using memory = await memoryApp(app, { start: new Date('2026-01-01T00:00:00Z') });
await signUp('ann@example.com');
memory.expectSent(sendMail, 'ann@example.com', 'welcome');
assert.deepEqual(memory.expectSent(remind).eta, new Date('2026-01-04T00:00:00Z'));

console.log(await memory.drain()); // runs what is due now: the first mail

memory.clearSent();
console.log(await memory.advance('3d')); // three days pass at once; the reminder fails and will be tried again
memory.expectNotSent(sendMail);

mailServerWorks = true;
console.log(await memory.advance('1m'));
memory.expectSent(sendMail, 'ann@example.com', 'reminder');
console.log(memory.now().toISOString());

/* Output:
{ succeeded: 1, failed: 0, retried: 0, expired: 0, parked: 0 }
{ succeeded: 0, failed: 0, retried: 1, expired: 0, parked: 0 }
{ succeeded: 2, failed: 0, retried: 0, expired: 0, parked: 0 }
2026-01-04T00:01:00.000Z
*/
