/** Keeping tasks from running, and ending one that runs. Run it: npx tsx examples/revoke.ts */
import { createApp, taskContext } from 'lovage';

const app = createApp({ name: 'revoke', broker: 'memory:' });
const remind = app.fn('remind', (whom: string) => console.log('reminding', whom));
let hasBegun = (): void => {};
const begun = new Promise<void>((resolve) => (hasBegun = resolve));
const exportAll = app.fn('export.all', async () => {
  const { signal } = taskContext();
  hasBegun();
  await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
});

const later = await remind.with({ countdown: '2h' }).send('ada');
console.log(await later.revoke(), await later.state()); // it waited in the broker, and is gone

const next = await remind.send('grace');
console.log(await next.revoke(), await next.state()); // it lies in a queue: the worker that gets it drops it

const worker = await app.worker({ concurrency: 2 });
const running = await exportAll.send();
await begun;
await app.control.revoke(running.id, { terminate: true }); // without that, a task that runs goes on
await running.result({ timeout: '10s' }).catch((error) => console.log(error.code));
await worker.close();
await app.close();

/* Output:
removed REVOKED
recorded REVOKED
E_TASK_REVOKED
*/
