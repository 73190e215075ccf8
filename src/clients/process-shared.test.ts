import { expect, test } from 'vitest';
import { ProcessShared } from './process-shared.js';

test('users of one name share a value, and users of another do not', () => {
  const shared = new ProcessShared<{ readonly name: string }>();
  const [one, again, other] = ['a', 'a', 'b'].map((name) => shared.use(name, () => ({ name })));
  expect(again?.value).toBe(one?.value);
  expect(other?.value).toEqual({ name: 'b' });
  expect(shared.peek('a')).toBe(one?.value);
  expect(shared.peek('c')).toBeUndefined();
  expect(shared.size).toBe(2);
});

test('a name is forgotten, and its value disposed of, when its last user releases it; releasing twice counts once', () => {
  const disposed: number[] = [];
  const shared = new ProcessShared<number>((value) => disposed.push(value));
  let made = 0;
  const make = (): number => (made += 1);
  const [one, two] = [shared.use('a', make), shared.use('a', make)];
  one.release();
  one.release();
  expect(shared.peek('a')).toBe(1);
  expect(disposed).toEqual([]);
  two.release();
  expect(shared.size).toBe(0);
  expect(disposed).toEqual([1]);
  expect(shared.use('a', make).value).toBe(2);
});
