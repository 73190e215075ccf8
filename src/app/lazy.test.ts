import { expect, test } from 'vitest';
import { Lazy } from './lazy.js';

class Thing {
  closed = 0;
  async close(): Promise<void> {
    this.closed += 1;
  }
}

test('opens at the first use, once for all who ask', async () => {
  let opened = 0;
  const lazy = new Lazy(async () => {
    opened += 1;
    return new Thing();
  });
  expect(lazy.value).toBeNull();
  const [first, second] = await Promise.all([lazy.get(), lazy.get()]);
  expect(first).toBe(second);
  expect(lazy.value).toBe(first);
  expect(opened).toBe(1);
});

test('a failed opening is told to all who waited, and tried again by the next', async () => {
  let tries = 0;
  const lazy = new Lazy(async () => {
    tries += 1;
    if (tries === 1) throw new Error('not yet');
    return new Thing();
  });
  expect(await Promise.allSettled([lazy.get(), lazy.get()])).toMatchObject([{ status: 'rejected' }, { status: 'rejected' }]);
  expect(await lazy.get()).toBeInstanceOf(Thing);
  expect(tries).toBe(2);
});

test('what is being opened while it is closed is closed too', async () => {
  const thing = new Thing();
  let release: (thing: Thing) => void = () => {};
  const lazy = new Lazy(() => new Promise<Thing>((resolve) => (release = resolve)));
  const waiting = lazy.get();
  const closing = lazy.close();
  release(thing);
  await Promise.all([waiting, closing, lazy.close()]);
  expect(thing.closed).toBe(1);
  expect(lazy.value).toBeNull();
  await expect(lazy.get()).rejects.toMatchObject({ code: 'E_CLOSED' });
});

test('closing what was never opened opens nothing', async () => {
  const lazy = new Lazy<Thing>(() => Promise.reject(new Error('must not be opened')));
  await lazy.close();
  await lazy.close();
  await expect(lazy.get()).rejects.toMatchObject({ code: 'E_CLOSED' });
});
