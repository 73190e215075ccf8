/** Steps of a task that run once, however often it is tried. Run it: npx tsx examples/steps.ts */
import { createApp, taskContext } from 'lovage';

const app = createApp({ name: 'steps', broker: 'memory:' });

const ship = app.fn(
  'ship',
  async (order: number) => {
    const ctx = taskContext();
    const label = await ctx.step('print a label', () => {
      console.log(`a label for order ${order}`);
      return `label ${order}`;
    });
    if (ctx.attempt === 1) throw new Error('no courier came');
    return ctx.step('hand over', () => `${label} is on its way`);
  },
  { retry: { max: 3, base: '10ms' } },
);

const worker = await app.worker();
console.log(await (await ship.send(7)).result({ timeout: '10s' }));
await worker.close();
await app.close();

/* Output:
a label for order 7
label 7 is on its way
*/
