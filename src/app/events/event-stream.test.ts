/** `app.events()` in the life of an app; what a stream does is `events/receiver.test.ts`. */
import { expect, test } from 'vitest';
import { codeOf } from '../../core/errors.js';
import { silentLogger } from '../../core/logger.js';
import { createApp } from '../../index.js';

let numbers = 0;
const newApp = () => createApp({ broker: `memory:event-stream-${(numbers += 1)}`, logger: silentLogger });

test('closing the app ends its streams, and one that was opened after it is refused', async () => {
  const app = newApp();
  const streams = [app.events(), app.events({ types: ['task-failed'] })];
  const reading = streams.map(async (stream) => {
    for await (const event of stream) throw new Error(`nothing was to come, and not ${event.type}`);
    return 'ended';
  });
  await Promise.all(streams.map(({ ready }) => ready));
  await app.close();
  expect(await Promise.all(reading)).toEqual(['ended', 'ended']);
  await expect(app.events().ready).rejects.toMatchObject({ code: 'E_CLOSED' });
});

test('a worker in the same process does not keep the app from listening, but inside a task there is no connection', async () => {
  const app = newApp();
  const listens = app.fn('listens', async (): Promise<string> => {
    try {
      await app.events().ready;
      return 'listened';
    } catch (error) {
      return codeOf(error) ?? String(error);
    }
  });
  const worker = await app.worker({ pool: 'inline', name: 'w1@here', logger: silentLogger });
  const stream = app.events({ types: ['task-succeeded'] });
  await stream.ready;
  const handle = await listens.send();
  for await (const event of stream) {
    expect(event).toMatchObject({ uuid: handle.id, result: "'E_NOT_SUPPORTED'" });
    break;
  }
  await worker.close();
  await app.close();
});
