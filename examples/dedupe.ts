/** A task that is sent once although several callers want it. Run it: npx tsx examples/dedupe.ts */
import { createApp, DuplicateSendError } from 'lovage';

const app = createApp({ name: 'dedupe', broker: 'memory:' });
const welcome = app.fn('mail.welcome', (user: string) => {
  console.log('a mail to', user);
  return `mailed ${user}`;
});
const once = (user: string) => welcome.with({ dedupe: { key: user, for: '10m' } });

const first = await once('ada').send('ada');
const second = await once('ada').send('ada');
console.log('sent:', !first.deduplicated, !second.deduplicated, '- the same task:', first.id === second.id);
const other = await once('grace').send('grace');
console.log('another key is another task:', !other.deduplicated);

const strict = welcome.with({ dedupe: { key: 'ada', for: '10m', onConflict: 'reject' } });
try {
  await strict.send('ada');
} catch (error) {
  if (!(error instanceof DuplicateSendError)) throw error;
  console.log(error.code, '- that is what was sent:', error.existingId === first.id);
}

const worker = await app.worker({ concurrency: 1 });
console.log(await second.result({ timeout: '10s' }));
console.log(await other.result({ timeout: '10s' }));
await worker.close();
await app.close();

/* Output:
sent: true false - the same task: true
another key is another task: true
E_DUPLICATE_SEND - that is what was sent: true
a mail to ada
mailed ada
a mail to grace
mailed grace
*/
