/** A task with one object as input, checked by a schema on both sides. Run it: npx tsx examples/object-task.ts */
import { ArgumentError, createApp } from 'lovage';
import * as z from 'zod';

const app = createApp({ name: 'shop', broker: 'memory:' });

const syncInvoice = app.task({
  name: 'invoices.sync',
  input: z.object({ invoiceId: z.string().min(1), limit: z.coerce.number().default(10) }),
  run: async ({ invoiceId, limit }, ctx) => {
    ctx.log.info({ invoiceId }, 'syncing');
    return { invoiceId, limit, at: new Date('2026-01-01T00:00:00Z') };
  },
});

// The input travels as keyword arguments: Python calls this task with invoices.sync(invoice_id=…).
const worker = await app.worker();
const handle = await syncInvoice.send({ invoiceId: '42', limit: '3' });
const result = await handle.result({ timeout: '10s' });
console.log(result.invoiceId, result.limit, result.at.getUTCFullYear()); // a Date is a Date again

try {
  await syncInvoice.send({ invoiceId: '' });
} catch (error) {
  if (error instanceof ArgumentError) console.log(error.code, 'and nothing was sent');
}

await worker.close();
await app.close();

/* Output:
42 3 2026
E_ARGUMENTS and nothing was sent
*/
