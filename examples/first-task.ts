/** A task, a worker and an answer. Run it: npx tsx examples/first-task.ts */
import { createApp } from 'lovage';

const app = createApp({ name: 'first', broker: 'memory:' }); // leave `broker` out for a file that survives: .lovage/queue.db
const add = app.fn('math.add', (x: number, y: number) => x + y, { params: ['x', 'y'] });

const worker = await app.worker();
const handle = await add.send(2, 3);
console.log('2 + 3 =', await handle.result({ timeout: '10s' }));

const handles = await add.sendMany([{ args: [1, 1] }, { args: [20, 22] }]);
for (const each of handles) console.log('another:', await each.result({ timeout: '10s' }));

console.log('in place, without broker:', await add.run(4, 5));
await worker.close();
await app.close();

/* Output:
2 + 3 = 5
another: 2
another: 42
in place, without broker: 9
*/
