/** How slots are judged: what is missing, what came twice, what is none; and the wall clock that a drill sets. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SetClock } from '../../drills/harness/clock.js';
import { judgeSlots, slotIds } from '../../drills/harness/slots.js';
import { slotTaskId } from '../../src/beat/schedules/index.js';

const stretch = { entry: 'a', fromMs: 1_001, toMs: 5_000, everyMs: 1_000 };
const id = (slotMs: number): string => slotTaskId('a', slotMs);

test('slots of a stretch are judged by the ids that came', () => {
  expect([...slotIds(stretch).keys()]).toEqual([2_000, 3_000, 4_000, 5_000]);
  const whole = [...slotIds(stretch).values()];
  expect(judgeSlots(stretch, whole)).toEqual({ slots: 4, missing: [], twice: [], strange: [] });
  expect(judgeSlots(stretch, [id(2_000), id(5_000), id(5_000), id(6_000)])).toEqual({
    ...{ slots: 4, missing: [3_000, 4_000], twice: [5_000], strange: [id(6_000)] },
  });
});

test('a process shows the wall clock that was set for it, and its monotonic clock goes on as it did', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-clock-'));
  try {
    const clock = new SetClock(join(folder, 'clock'));
    const script =
      "process.on('message', () => process.send([Date.now(), new Date().getTime(), performance.now(), new Date(5).getTime()]))";
    const child = spawn(process.execPath, [...clock.nodeFlags, '--eval', script], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const look = (): Promise<readonly number[]> =>
      new Promise((resolve) => {
        child.once('message', (shown) => resolve(shown as number[]));
        child.send('look');
      });
    const [before = 0, , monotonic = 0] = await look();
    clock.step(3_600_000);
    // Looks are a hundredth of a second apart at least.
    let [after = 0, asDate = 0, then = 0, given = 0] = await look();
    while (then - monotonic < 20) [after = 0, asDate = 0, then = 0, given = 0] = await look();
    child.kill();
    expect(after - before - (then - monotonic)).toBeCloseTo(3_600_000, -2);
    expect(Math.abs(asDate - after)).toBeLessThan(50);
    expect(given).toBe(5);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
