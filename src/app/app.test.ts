import { expect, test } from 'vitest';
import { createApp } from '../index.js';
test('a task is sent, run and answered', async () => {
  const app = createApp({ broker: 'memory:smoke' });
  const add = app.fn('math.add', (x: number, y: number) => x + y, { params: ['x', 'y'] });
  const worker = await app.worker({ pool: 'inline' });
  const handle = await add.send(2, 3);
  expect(await handle.result({ timeout: '5s' })).toBe(5);
  const handles = await add.sendMany([{ args: [1, 2] }, { args: [3, 4] }]);
  expect(await Promise.all(handles.map((h) => h.result({ timeout: '5s' })))).toEqual([3, 7]);
  await worker.close();
  await app.close();
});
