/** Workers in code: shares of queues, a stop that hands work back, and the worker that goes on. Run it: npx tsx examples/worker.ts */
import { setTimeout as wait } from 'node:timers/promises';
import { createApp, taskContext } from 'lovage';

const app = createApp({ name: 'worker' }); // the queue is the file .lovage/queue.db in the current folder
let begun: () => void = () => {};
const hasBegun = new Promise<void>((resolve) => {
  begun = resolve;
});

const report = app.fn(
  'report',
  async (month: string) => {
    const { attempt, signal } = taskContext();
    console.log(`report ${month} begins, try ${attempt}`);
    begun();
    await wait(1_500, undefined, { signal }); // ends at once when the worker must stop; what it throws then is no failure
    return `report ${month} is done`;
  },
  { queue: 'reports' },
);
const mail = app.fn('mail', (to: string) => `mail to ${to} is sent`, { queue: 'mails' });

// at most 8 tasks at once, and at most 2 of them reports: mails never wait behind reports
const first = await app.worker({ queues: { mails: 8, reports: 2 }, concurrency: 8, grace: '100ms' });
const slow = await report.send('May');
const quick = await mail.send('ann');
console.log(await quick.result({ timeout: '10s' }));

await hasBegun;
await first.close(); // takes nothing more, gives running tasks the grace, aborts their signals, hands the rest back
console.log('the first worker ends with', (await first.done).exitCode);

const second = await app.worker({ queues: ['mails', 'reports'] });
console.log(await slow.result({ timeout: '10s' }));
console.log(await second.stats().then(({ received, succeeded }) => ({ received, succeeded })));
await second.close();
await app.close();

/* Output:
report May begins, try 1
mail to ann is sent
the first worker ends with 0
report May begins, try 1
report May is done
{ received: 1, succeeded: 1 }
*/
