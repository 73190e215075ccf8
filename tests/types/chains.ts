/** Types of signatures and chains: what fits together, and what must not compile. Compiled by `types.test.ts`, never run. */
import { type AnySignature, chain, createApp, type Signature, type TaskHandle } from 'lovage';
import type { WireSignature } from 'lovage/wire';
import * as z from 'zod';
import type { Equal, Expect } from './equal.js';

const app = createApp();
const add = app.fn('add', (x: number, y: number) => x + y);
const text = app.fn('text', (value: number, length?: number) => String(value).padEnd(length ?? 0));
const upper = app.fn('upper', (value: string) => value.toUpperCase());
const done = app.fn('done', () => 'done');
const sum = app.fn('sum', (...numbers: number[]) => numbers.length);
const nothing = app.fn('nothing', async (_value: string) => {});
const tell = app.fn('tell', (failedId: string) => failedId);
const pair = app.fn('pair', (both: readonly [number, number]) => both[0]);
const order = app.task({
  name: 'order',
  input: z.object({ id: z.number() }),
  run: ({ id }) => ({ id, total: 10 }),
});
const invoice = app.task({
  name: 'invoice',
  input: z.object({ id: z.number(), total: z.number(), currency: z.string(), note: z.string().optional() }),
  run: ({ id }) => `invoice ${id}`,
});
const score = app.remote<[text: string, model: string], { value: number }>('ml.score', { queue: 'gpu' });
const train = app.remote<{ rate: number; steps?: number }, number>('ml.train', { by: 'keyword', queue: 'gpu' });

// --- signatures

const whole = add.si(1, 2);
export type Whole = Expect<Equal<typeof whole, Signature<[], number, 'add'>>>;
const open = add.s(2);
export type Open = Expect<Equal<typeof open, Signature<[previous: number], number, 'add'>>>;
const handle = await whole.send();
export type Handle = Expect<Equal<typeof handle, TaskHandle<number>>>;
export const written: WireSignature = open.toJSON();
await whole.send({ timeout: '5s', signal: new AbortController().signal });
await add
  .with({ queue: 'slow', countdown: '1s', priority: 1 })
  .si(1, 2)
  .with({ headers: { tenant: 'a' } })
  .send();
await done.si().send();
await order.si({ id: 1 }).send();
await score.si('a', 'big').send();
await train.si({ rate: 1 }).send();

// @ts-expect-error an argument is missing
add.si(1);
// @ts-expect-error one argument too many
add.si(1, 2, 3);
// @ts-expect-error the wrong type
add.si('1', 2);
// @ts-expect-error one bound argument too many: the first is left out
add.s(1, 2);
// @ts-expect-error a bound argument of the wrong type
add.s('2');
// @ts-expect-error a bound argument is missing
add.s();
// @ts-expect-error nothing is left to bind
upper.s('a');
// @ts-expect-error the first argument is missing
add.s(2).send();
// @ts-expect-error options do not stand for the argument
add.s(2).send({ timeout: '5s' });
// @ts-expect-error the input is missing
order.s().send();
// @ts-expect-error the second of two steps has its argument, the first has not
chain(add.s(2), text.s()).send();
// @ts-expect-error a signature carries no deadline
whole.with({ timeout: '5s' });
// @ts-expect-error a signature carries no dedupe key
whole.with({ dedupe: { key: 'k', for: '1m' } });
// @ts-expect-error a duration has a unit
whole.with({ countdown: 5 });
// @ts-expect-error of all options only deadline and signal belong to the send
whole.send({ queue: 'slow' });
// @ts-expect-error a signature is no promise
whole.then(() => {});
// @ts-expect-error nobody else makes one
export const forged: Signature<[], number> = { name: 'add', send: () => handle, toJSON: () => written };

// --- joints

const three = chain(add.si(1, 2), add.s(3), text.s(5));
export type Three = Expect<Equal<typeof three, Signature<[], string, 'text'>>>;
export const result: string = await (await three.send()).result({ timeout: '5s' });
const behind = chain(add.s(3), text.s());
export type Half = Expect<Equal<typeof behind, Signature<[previous: number], string, 'text'>>>;
chain(add.si(1, 2), behind, upper.s(), done.si());
chain(add.si(1, 2), done.si(), upper.s());
chain(add.si(1, 2), sum.s(4, 5), add.s(1));
chain(upper.si('a'), score.s('big'));
chain(add.si(1, 2));
export const immutable: Signature<[], string> = chain(add.si(1, 2), upper.si('fixed'));

// @ts-expect-error a number before a text
chain(add.si(1, 2), upper.s());
// @ts-expect-error a text before a number
chain(upper.si('a'), add.s(1));
// @ts-expect-error the second joint is wrong
chain(add.si(1, 2), text.s(), add.s(1));
// @ts-expect-error the last joint is wrong, behind a chain
chain(chain(add.si(1, 2), add.s(3)), upper.s());
// @ts-expect-error what a chain begins with does not fit
chain(upper.si('a'), behind);
// @ts-expect-error nothing is no text
chain(nothing.si('a'), upper.s());
// @ts-expect-error a list is no pair
chain(sum.si(1, 2), pair.s());
// @ts-expect-error what Python gives is an object
chain(score.si('a', 'big'), upper.s());
// @ts-expect-error a task is no signature
chain(add.si(1, 2), text);
// @ts-expect-error a chain has a step
chain();

// --- object tasks

const bill = chain(order.si({ id: 1 }), invoice.s({ currency: 'EUR' }));
export type Bill = Expect<Equal<typeof bill, Signature<[], string, 'invoice'>>>;
chain(order.si({ id: 1 }), invoice.s({ currency: 'EUR', note: 'thanks', total: 5 }));
chain(order.si({ id: 1 }), order.s());

// @ts-expect-error the currency comes from nowhere
chain(order.si({ id: 1 }), invoice.s());
// @ts-expect-error a number is no order
chain(add.si(1, 2), invoice.s({ currency: 'EUR' }));
// @ts-expect-error no such field
invoice.s({ curency: 'EUR' });
// @ts-expect-error the wrong type of a field
invoice.s({ currency: 5 });

// --- twelve of them, and chains made in a loop

const one = add.s(1);
const twelve = chain(add.si(1, 2), one, one, one, one, one, one, one, one, one, text.s(), upper.s());
export type Twelve = Expect<Equal<typeof twelve, Signature<[], string, 'upper'>>>;
// @ts-expect-error the last of twelve
chain(add.si(1, 2), one, one, one, one, one, one, one, one, one, text.s(), one);

let made: Signature<[], number> = add.si(0, 0);
for (const number of [1, 2, 3]) made = made.pipe(add.s(number));
const piped = add.si(1, 2).pipe(text.s()).pipe(upper.s()).pipe(done.si());
export type Piped = Expect<Equal<typeof piped, Signature<[], string, 'done'>>>;
export const fromHalf: Signature<[previous: number], string> = behind.pipe(upper.s());
// @ts-expect-error a number before a text
add.si(1, 2).pipe(upper.s());
// @ts-expect-error a chain that gives another type cannot take its place
made = made.pipe(text.s());
export const several: AnySignature[] = [whole, open, three, bill];

// --- callbacks and errbacks

whole
  .link(text.s(3))
  .link(done.si())
  .link(chain(add.s(1), text.s()))
  .onError(tell.s())
  .onError(done.si());
three.onError(tell.s()).link(upper.s());
bill.link(upper.s());

// @ts-expect-error a callback gets the result, a number
whole.link(upper.s());
// @ts-expect-error a callback of a chain gets the result of the last
three.link(add.s(1));
// @ts-expect-error an errback gets an id, a text
whole.onError(add.s(1));
// @ts-expect-error a callback is a signature
whole.link(text);
