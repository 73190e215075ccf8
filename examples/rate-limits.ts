/** A task that may start only so often, and another that may not mind. Run it: npx tsx examples/rate-limits.ts */
import { createApp } from 'lovage';

const app = createApp({ name: 'limits', broker: 'memory:' });

const sms = app.fn('sms.send', (to: string) => console.log('sms to', to), { rateLimit: '5/s' });
const note = app.fn('note', (text: string) => console.log(text));

const messages = await sms.sendMany(['ada', 'grace', 'joan', 'mary'].map((to) => ({ args: [to] })));
const behind = await note.send('sent last, and not held up');

const worker = await app.worker({ concurrency: 1 });
const before = Date.now();
await behind.result({ timeout: '10s' });
await Promise.all(messages.map((each) => each.result({ timeout: '10s' })));
const tookMs = Date.now() - before;
console.log('four starts are three fifths of a second:', tookMs > 550);
await worker.close();
await app.close();

/* Output:
sms to ada
sent last, and not held up
sms to grace
sms to joan
sms to mary
four starts are three fifths of a second: true
*/
