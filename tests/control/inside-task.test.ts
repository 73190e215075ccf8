/** Remote control from inside a task: its executor holds no connection, so the question crosses to the engine and the answers come back. */
import { randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { codeOf, createApp } from '../../src/index.js';

test('a task asks and steers workers, its own among them; pauses it can neither see nor make', async () => {
  const url = `memory:inside-${randomUUID()}`;
  const app = createApp({ name: 'inside', broker: url, results: url, logger: silentLogger });
  const asking = app.fn('asking', async () => {
    const { answers, complete } = await app.control.ping({ timeout: '20s' });
    const { errors } = await app.control.rateLimit('no.such', '1/s', { timeout: '20s' });
    const heardBy = await app.control.cast('heartbeat');
    const paused = await app.control.paused().catch((error: unknown) => codeOf(error) ?? 'none');
    return { nodes: [...answers.keys()].sort(), complete, errors: [...errors.values()], heardBy, paused: String(paused) };
  });
  const workers = await Promise.all(
    ['one', 'two'].map((name) => app.worker({ name: `${name}@suite`, pool: 'inline', concurrency: 2, logger: silentLogger })),
  );
  try {
    const handle = await asking.send();
    expect(await handle.result({ timeout: '30s' })).toEqual({
      nodes: ['one@suite', 'two@suite'],
      complete: true,
      errors: ['unknown task', 'unknown task'],
      heardBy: 2,
      paused: 'E_NOT_SUPPORTED',
    });
  } finally {
    await Promise.all(workers.map((worker) => worker.close()));
    await app.close();
  }
});

test('a task that is ended while it asks gives its turn back', async () => {
  const url = `memory:inside-${randomUUID()}`;
  const app = createApp({ name: 'inside', broker: url, results: url, logger: silentLogger });
  const waiting = app.fn(
    'waiting',
    () => app.control.ping({ destination: 'nobody@nowhere', timeout: '60s' }).then(({ complete }) => complete),
    { timeLimit: '300ms' },
  );
  const pinging = app.fn('pinging', () => app.control.ping({ timeout: '20s' }).then(({ answers }) => answers.size));
  const worker = await app.worker({ pool: 'inline', concurrency: 20, logger: silentLogger });
  try {
    // more than may ask at once
    const stuck = await Promise.all(Array.from({ length: 10 }, () => waiting.send()));
    for (const handle of stuck) await expect(handle.result({ timeout: '30s' })).rejects.toMatchObject({ code: 'E_TASK_FAILED' });
    expect(await (await pinging.send()).result({ timeout: '10s' })).toBe(1);
  } finally {
    await worker.close();
    await app.close();
  }
});
