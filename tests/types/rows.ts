/** Types of `map`, `starmap` and `chunks`: what a row may be. Compiled by `types.test.ts`, never run. */
import { chain, chord, createApp, type GroupHandle, type Signature } from 'lovage';
import * as z from 'zod';
import type { Equal, Expect } from './equal.js';

const app = createApp();
const add = app.fn('add', (x: number, y: number) => x + y);
const text = app.fn('text', (value: number, length?: number) => String(value).padEnd(length ?? 0));
const done = app.fn('done', () => 'done');
const sum = app.fn('sum', (numbers: readonly number[]) => numbers.length);
const sums = app.fn('sums', (chunks: readonly (readonly number[])[]) => chunks.length);
const order = app.task({ name: 'order', input: z.object({ id: z.number() }), run: ({ id }) => ({ id }) });

const texts = text.map([1, 2, 3]);
export type Texts = Expect<Equal<typeof texts, Signature<[], string[], 'celery.map'>>>;
const added = add.starmap([
  [1, 2],
  [3, 4],
]);
export type Added = Expect<Equal<typeof added, Signature<[], number[], 'celery.starmap'>>>;
const cut = add.chunks([[1, 2]], 10);
export type Cut = Expect<Equal<typeof cut, Signature<[], number[][], 'celery.group', GroupHandle<number[][]>>>>;
text.starmap([[1], [2, 3]]);
order.map([{ id: 1 }, { id: 2 }]);
add.with({ queue: 'slow', timeLimit: '5m' }).starmap([[1, 2]]);
chain(added, sum.s());
chain(done.si(), texts);
chord(cut, sums.s());
export const result: number[] = await (await added.send()).result({ timeout: '5s' });

// @ts-expect-error a task of two arguments has rows of two
add.map([1, 2]);
// @ts-expect-error a task without arguments has nothing to map
done.map([1]);
// @ts-expect-error a row of the wrong type
text.map(['1']);
// @ts-expect-error a row is a list
add.starmap([1, 2]);
// @ts-expect-error a row with an argument too few
add.starmap([[1]]);
// @ts-expect-error how many rows a chunk has
add.chunks([[1, 2]]);
// @ts-expect-error the list of results does not fit
chain(texts, sum.s());
// @ts-expect-error no such field
order.map([{ ID: 1 }]);
