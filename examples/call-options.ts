/** When, where and how urgently a task runs. Run it: npx tsx examples/call-options.ts */
import { createApp, taskContext } from 'lovage';

const app = createApp({
  name: 'options',
  broker: 'memory:',
  routes: { 'reports.*': { queue: 'slow' } }, // the first pattern that fits counts
});

const report = app.fn(
  'reports.daily',
  (day: string) => `${day} on ${taskContext().queue}, tenant ${taskContext().headers.tenant}`,
);
const note = app.fn('note', (text: string) => console.log(text), { queue: 'notes' });

// Nobody works yet: messages wait in their queues.
const second = await note.with({ priority: 1 }).send('second: it is not urgent');
const first = await note.with({ priority: 9 }).send('first: it is urgent'); // higher is sooner, on every broker
const routed = await report.with({ headers: { tenant: 'acme' } }).send('monday');
const moved = await report.with({ queue: 'notes', headers: { tenant: 'acme' } }).send('tuesday');
const expired = await report.with({ countdown: '100ms', expires: '200ms', id: 'report-7' }).send('never');
await new Promise((resolve) => setTimeout(resolve, 250));

const worker = await app.worker({ queues: ['notes', 'slow'], concurrency: 1 });
await Promise.all([second.result({ timeout: '10s' }), first.result({ timeout: '10s' })]);
console.log(await routed.result({ timeout: '10s' }));
console.log(await moved.result({ timeout: '10s' }));
await expired.result({ timeout: '10s' }).catch((error: Error) => console.log(error.message));

const before = Date.now();
const delayed = await note.with({ countdown: '200ms' }).send('third: it had to wait');
await delayed.result({ timeout: '10s' });
console.log(Date.now() - before >= 200);
await worker.close();
await app.close();

/* Output:
first: it is urgent
second: it is not urgent
monday on slow, tenant acme
tuesday on notes, tenant acme
task report-7 was revoked or had expired: expired
third: it had to wait
true
*/
