// A process that sends one task many times under one dedupe key, all at once, and prints what it was told.
// node dedupe-sender.mjs BROKER RESULTS KEY COUNT
import { createApp } from 'lovage';

const [broker, results, key, count] = process.argv.slice(2);
const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const app = createApp({ broker, results, logger: quiet, sendTimeout: '60s' });
const task = app.remote('once', { ignoreResult: true });
process.stdout.write('ready\n');
// Told when to begin, so that all processes begin together.
await new Promise((resolve) => process.stdin.once('data', resolve));
const handles = await Promise.all(Array.from({ length: Number(count) }, () => task.with({ dedupe: { key, for: '1h' } }).send()));
const sent = handles.filter(({ deduplicated }) => !deduplicated).map(({ id }) => id);
process.stdout.write(`${JSON.stringify({ sent, told: [...new Set(handles.map(({ id }) => id))] })}\n`);
await app.close();
process.stdin.destroy();
