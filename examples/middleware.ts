/** Things that happen around every send and every run, in one visible list. Run it: npx tsx examples/middleware.ts */
import { AsyncLocalStorage } from 'node:async_hooks';
import { createApp, type Middleware, taskContext } from 'lovage';

const tenant = new AsyncLocalStorage<string>();

/** Carries the tenant of the caller into the task. */
const carryTenant: Middleware = {
  name: 'tenant',
  publish: (request, next) => next({ ...request, headers: { ...request.headers, tenant: tenant.getStore() ?? 'none' } }),
  execute: (context, next) => tenant.run(String(context.headers.tenant), next),
};

const logRuns: Middleware = {
  name: 'log-runs',
  execute: async (context, next) => {
    console.log(`${context.name} begins`);
    const result = await next();
    console.log(`${context.name} ends`);
    return result;
  },
};

const app = createApp({ name: 'middleware', broker: 'memory:', middleware: [carryTenant, logRuns] }); // the first is outermost
const whose = app.fn('whose', () => `for ${tenant.getStore()}`);
const parent = app.fn('parent', async () => {
  await whose.send(); // the parent's id and root id go with it by themselves
  return taskContext().attempt;
});

app.onStart(() => console.log('executor starts: connect here'));
app.onStop(() => console.log('executor stops: disconnect here'));

const worker = await app.worker();
const handle = await tenant.run('acme', () => parent.send());
const attempt = await handle.result({ timeout: '10s' });
const [child = ''] = (await handle.status()).children;
console.log(await app.handle(child).result({ timeout: '10s' }), 'at attempt', attempt);
await worker.close();
await app.close();

/* Output:
executor starts: connect here
parent begins
parent ends
whose begins
whose ends
for acme at attempt 1
executor stops: disconnect here
*/
