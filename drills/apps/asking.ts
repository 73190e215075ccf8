/**
 * A client that inspects a fleet, in a process of its own: `asking.ts BROKER_URL RESULT_URL ROUNDS`. Prints one line of JSON: how
 * long connecting and its first question took, and for each command its times and the fewest nodes that answered, without an error, before it ended.
 */
import { createApp } from 'lovage';

const [broker = '', results = '', rounds = '1'] = process.argv.slice(2);
const app = createApp({ name: 'drill-asking', broker, results });
const { control } = app;
const timeout = '10s';

const commands = {
  ping: () => control.ping({ timeout }),
  active: () => control.active({ timeout }),
  registered: () => control.registered([], { timeout }),
  active_queues: () => control.activeQueues({ timeout }),
  stats: () => control.stats({ timeout }),
  conf: () => control.conf({ timeout }),
};

/** Loads the driver and connects. */
const openedMs = performance.now();
await control.paused();
const connectMs = performance.now() - openedMs;

/** RabbitMQ does not say how many listen: whoever asks for the first time waits for its timeout. */
const beganMs = performance.now();
const first = await control.ping({ timeout: broker.startsWith('amqp') ? '5s' : timeout });
const firstMs = performance.now() - beganMs;

const asked: Record<string, { readonly ms: number[]; nodes: number }> = {};
for (let round = 0; round < Number(rounds); round += 1)
  for (const [name, ask] of Object.entries(commands)) {
    const startMs = performance.now();
    const { answers, complete } = await ask();
    const kept = (asked[name] ??= { ms: [], nodes: Number.POSITIVE_INFINITY });
    kept.ms.push(performance.now() - startMs);
    kept.nodes = Math.min(kept.nodes, complete ? answers.size : 0);
  }
console.log(JSON.stringify({ connectMs, firstMs, firstNodes: first.answers.size, asked }));
await app.close();
