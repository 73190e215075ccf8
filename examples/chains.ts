/** Tasks that follow each other: chains, callbacks and errbacks. Run it: npx tsx examples/chains.ts */
import { chain, createApp, NonRetryableError, type Signature } from 'lovage';
import * as z from 'zod';

const app = createApp({ name: 'shop', broker: 'memory:' });

const price = app.fn('price', (sku: string) => {
  if (sku === '') throw new NonRetryableError('no such article');
  return sku.length * 100;
});
const discount = app.fn('discount', (cents: number, percent: number) => Math.round(cents * (1 - percent / 100)));
const label = app.fn('label', (cents: number) => `${(cents / 100).toFixed(2)} EUR`);

const reserve = app.task({
  name: 'orders.reserve',
  input: z.object({ order: z.number() }),
  run: ({ order }) => ({ order, cents: 4_200 }),
});
const bill = app.task({
  name: 'invoices.make',
  input: z.object({ order: z.number(), cents: z.number(), currency: z.string() }),
  run: ({ order, cents, currency }) => `order ${order}: ${cents / 100} ${currency}`,
});

const told = { linked: (_text: string) => {}, failed: (_text: string) => {} };
const announce = app.fn('announce', (text: string) => told.linked(text));
const alarm = app.fn('alarm', async (failedId: string) => {
  const { error } = await app.handle(failedId).status();
  told.failed(`${failedId} failed: ${error?.message}`);
});

const worker = await app.worker();

const quote = chain(price.si('lovage'), discount.s(10), label.s());
const handle = await quote.send(); // the handle of the last task
console.log('quote:', await handle.result({ timeout: '10s' }));

const stored = JSON.stringify(quote); // a database row, a configuration file, a message to Python
const restored = app.signature<string>(stored);
console.log('restored:', await (await restored.send()).result({ timeout: '10s' }));

const invoice = await chain(reserve.si({ order: 7 }), bill.s({ currency: 'EUR' })).send();
console.log(await invoice.result({ timeout: '10s' }));

const half = discount.with({ countdown: '50ms', headers: { tenant: 'acme' } }).s(50);
const urgent = chain(price.si('celery'), half).with({ priority: 9 }); // of a chain: options of its first task
console.log('half of it:', await (await urgent.send()).result({ timeout: '10s' }));

const marked = quote.with({ stamps: { tenant: 'acme', tag: ['herbs', 'autumn'] } });
console.log('stamped:', await (await marked.send()).result({ timeout: '10s' }));

let steps: Signature<[], number> = price.si('dill');
for (const percent of [10, 20, 30]) steps = steps.pipe(discount.s(percent));
console.log('three discounts:', await (await steps.send()).result({ timeout: '10s' }));

const announced = new Promise<string>((resolve) => void (told.linked = resolve));
await quote.link(announce.s()).send();
console.log('announced:', await announced);

const alarmed = new Promise<string>((resolve) => void (told.failed = resolve));
const first = price.with({ id: 'price-1' }).si('');
const failing = await chain(first, discount.s(10), label.s()).onError(alarm.s()).send();
await failing.result({ timeout: '10s' }).catch((error: Error) => console.log('the last one too:', error.message));
console.log('alarm:', await alarmed);

console.log(JSON.stringify(discount.s(10)));
await worker.close();
await app.close();

/* Output:
quote: 5.40 EUR
restored: 5.40 EUR
order 7: 42 EUR
half of it: 300
stamped: 5.40 EUR
three discounts: 202
announced: 5.40 EUR
the last one too: NonRetryableError: no such article
alarm: price-1 failed: no such article
{"task":"discount","args":[10],"kwargs":{},"options":{"queue":"lovage"},"subtask_type":null,"immutable":false}
*/
