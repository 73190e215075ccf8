/** What happens in a cluster: a stream of events, and what they add up to. Run it: npx tsx examples/events.ts */
import { ClusterState, createApp } from 'lovage';

const app = createApp({ name: 'events', broker: 'memory:' });

const divide = app.fn('math.divide', (x: number, y: number) => {
  if (y === 0) throw new RangeError('divided by zero');
  return x / y;
});
const worker = await app.worker({ name: 'w1@example' });

const events = app.events({ types: ['task-received', 'task-succeeded', 'task-failed'] });
await events.ready; // what is sent from here on is heard
const cluster = new ClusterState();
const watching = (async () => {
  for await (const event of events) {
    cluster.apply(event, Date.now());
    if (event.type === 'task-failed') console.log(event.hostname, event.exception);
    if (cluster.totals.succeeded + cluster.totals.failed === 2) break; // leaving the loop ends the stream
  }
})();

await divide.send(6, 2);
await divide.send(1, 0);
await watching;
for (const { name, succeeded, failed } of cluster.names()) console.log(`${name}: ${succeeded} succeeded, ${failed} failed`);
console.log(events.dropped, 'events dropped');
await worker.close();
await app.close();

/* Output:
w1@example RangeError('divided by zero')
math.divide: 1 succeeded, 1 failed
0 events dropped
*/
