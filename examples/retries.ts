/** What is tried again, how often, and how a task steers it. Run it: npx tsx examples/retries.ts */
import { createApp, NonRetryableError, TaskFailedError, taskContext } from 'lovage';

const app = createApp({ name: 'retries', broker: 'memory:' });

const flaky = app.fn(
  'flaky',
  (failures: number) => {
    const { attempt, maxAttempts } = taskContext();
    console.log(`try ${attempt} of ${maxAttempts}`);
    if (attempt <= failures) throw new Error('connection reset');
    return 'done';
  },
  { retry: { max: 2, backoff: 'exponential', base: '10ms', cap: '10m', jitter: 'full' } }, // or retry: true
);

const charge = app.fn(
  'charge',
  (status: number) => {
    if (status === 429 && taskContext().attempt === 1) throw taskContext().retry({ in: '20ms' }); // the other side said when
    if (status === 404) throw new NonRetryableError('no such customer'); // never tried again, whatever the policy says
    return `status ${status}`;
  },
  { retry: true, throws: NonRetryableError }, // expected errors are one line in the log, without a stack
);

const worker = await app.worker();
console.log(await (await flaky.send(1)).result({ timeout: '10s' }));
console.log(await (await charge.send(429)).result({ timeout: '10s' }));
for (const handle of [await flaky.send(9), await charge.send(404)]) {
  try {
    await handle.result({ timeout: '10s' });
  } catch (error) {
    if (error instanceof TaskFailedError) console.log(error.code, '-', error.message);
  }
}
await worker.close();
await app.close();

/* Output:
try 1 of 3
try 2 of 3
done
status 429
try 1 of 3
try 2 of 3
try 3 of 3
E_TASK_FAILED - Error: connection reset
E_TASK_FAILED - NonRetryableError: no such customer
*/
