import { expect, test } from 'vitest';
import { Patience } from './patience.js';

test('a wait ends when its condition holds', async () => {
  const patience = new Patience();
  let done = false;
  const wait = patience.until(() => done, 60_000);
  patience.check();
  done = true;
  patience.check();
  expect(await wait).toBe(true);
});

test('a wait ends at its time, and says that the condition does not hold', async () => {
  expect(await new Patience().until(() => false, 5)).toBe(false);
});

test('hurry ends the present wait and no later one', async () => {
  const patience = new Patience();
  const wait = patience.until(() => false, 60_000);
  patience.hurry();
  expect(await wait).toBe(false);
  let done = false;
  const later = patience.until(() => done, 60_000);
  done = true;
  patience.check();
  expect(await later).toBe(true);
});

test('hurry between two waits ends the next one, and no other', async () => {
  const patience = new Patience();
  patience.hurry();
  expect(await patience.until(() => true, 60_000)).toBe(true);
  expect(await patience.until(() => false, 60_000)).toBe(false);
  let done = false;
  const later = patience.until(() => done, 60_000);
  done = true;
  patience.check();
  expect(await later).toBe(true);
});
