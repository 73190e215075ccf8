/**
 * Drill 7: a task waits for the result of another on a worker with one slot. It must be told at once that this cannot
 * work, instead of holding the slot that the other needs.
 */
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Drill } from './harness/runner.js';
import { Scene } from './harness/scene.js';
import { until } from './harness/wait.js';

const APP = fileURLToPath(new URL('./apps/waiting.ts', import.meta.url));

export const drill: Drill = {
  name: 'wait-inside-task',
  scenario:
    'On a worker with concurrency 1, a task sends another and awaits its result. The same work again with the second half as a task that the first one sends on.',
  brokers: ['file', 'redis', 'rabbitmq'],
  async run(kit) {
    const scene = new Scene(kit, 'waiting', '5s');
    try {
      const fleet = await scene.fleet({ count: 1, app: APP, concurrency: 1 });
      const { ledger, sender } = scene;
      const waiting = await sender.send('waiting.inside', 20);
      const failure = await sender
        .handle(waiting)
        .result({ timeout: '30s' })
        .then(
          () => null,
          (error: Error) => error,
        );
      const run = ledger.read().runs.get(waiting)?.[0];
      const [child = ''] = (await sender.handle(waiting).status()).children;
      ledger.sent([child]);
      await until(() => ledger.read().executed.has(child), 'the task that was waited for has run');

      const id = randomUUID();
      await sender.send('waiting.first', 20, id);
      ledger.sent([id]);
      await until(() => ledger.read().executed.has(id), 'the second half has run');
      kit.claim('the waiting task fails', failure !== null, { equals: true });
      kit.claim('it is told why, and what to use instead', /slot.*chain/s.test(failure?.message ?? ''), { equals: true });
      kit.claim('from its start to its failure', run?.endMs == null ? null : run.endMs - run.startMs, { atMost: 2_000 }, 'ms');
      kit.claim('tries of the waiting task', ledger.read().runs.get(waiting)?.length ?? 0, { equals: 1 });
      kit.claim('the task that it sent runs all the same', ledger.read().executed.has(child), { equals: true });
      kit.claim('the same work, handed on, is done', ledger.read().executed.has(id), { equals: true });
      kit.claim('workers that ended by themselves', fleet.crashes.length, { equals: 0 });
      kit.claim('exit code of the worker', (await fleet.close()).join(' '), { equals: '0' });
    } finally {
      await scene.close();
    }
  },
};
