/**
 * Calls the tasks of tasks.py beside it, on the broker and results that the environment names. Run it:
 * LOVAGE_BROKER_URL=redis://localhost:6379/0 npx tsx examples/interop/client.ts
 */
import { createApp, TaskFailedError } from 'lovage';

const app = createApp({ name: 'client' });

interface Score {
  readonly value: number;
  readonly model: string;
}
/** A tuple goes by position. */
const rate = app.remote<[text: string], Score>('scores.rate', { queue: 'scores' });
/** An object goes by keyword. Types are gone at run time, hence `by`. */
const rateWith = app.remote<{ text: string; model: string }, Score>('scores.rate', { queue: 'scores', by: 'keyword' });

console.log(await (await rate.send('lovage')).result({ timeout: '20s' }));
const later = await rateWith.with({ countdown: '500ms' }).send({ text: 'celery', model: 'big' });
console.log(await later.result({ timeout: '20s' }));

const handle = await rate.send('');
try {
  await handle.result({ timeout: '20s' });
} catch (error) {
  if (!(error instanceof TaskFailedError)) throw error;
  console.log(error.message);
  console.log(error.traceback?.split('\n')[0]);
}
await app.close();

/* Output:
{ value: 6, model: 'small' }
{ value: 6, model: 'big' }
ValueError: nothing to rate
Traceback (most recent call last):
*/
