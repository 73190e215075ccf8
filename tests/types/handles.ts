/** Types of signatures from data, and of handles of workflows. Compiled by `types.test.ts`, never run. */
import {
  type AnyHandle,
  chain,
  createApp,
  type GroupHandle,
  type GroupProgress,
  group,
  type TaskHandle,
  type WorkflowGraph,
} from 'lovage';
import type { Equal, Expect } from './equal.js';

const app = createApp();
const add = app.fn('add', (x: number, y: number) => x + y);
const upper = app.fn('upper', (text: string) => text.toUpperCase());
const json: unknown = JSON.parse('{}');

// --- signatures from data

const one = await app.signature<number>(json).send();
export type One = Expect<Equal<typeof one, TaskHandle<number>>>;
const several = await app.signature<number[]>(json).send();
export type Several = Expect<Equal<typeof several, TaskHandle<number[]> | GroupHandle<number[]>>>;
const any = await app.signature(json).send();
export type Any = Expect<Equal<typeof any, TaskHandle<unknown> | GroupHandle<readonly unknown[]>>>;
chain(add.si(1, 2), app.signature<string, [previous: number]>(json), upper.s());
export const copy: ReturnType<typeof add.si> = add.si(1, 2).clone();

// @ts-expect-error it was said to give a number
chain(app.signature<number>(json), upper.s());
// @ts-expect-error it was said to miss a text
chain(add.si(1, 2), app.signature<string, [previous: string]>(json));
// @ts-expect-error it was said to miss an argument
app.signature<string, [previous: string]>(json).send();

// --- handles

const members = await group(add.si(1, 2), upper.si('a')).send();
for await (const progress of members.watch({ timeout: '5s' })) {
  const told: GroupProgress = progress;
  void told;
}
export const parent: AnyHandle | null = await members.parent();
export const graph: WorkflowGraph = await members.graph({ limit: 10 });
export const children: readonly AnyHandle[] = await members.children[0].children();
export const restored: AnyHandle | null = await app.restore('id');
export const listed: unknown = await restored?.result({ timeout: '5s' });
await add.with({ stamps: { tenant: 'acme', tag: ['x', 1, true] } }).send(1, 2);

// @ts-expect-error waiting takes a time
members.watch();
// @ts-expect-error what was restored gives anything
export const wrong: number = await restored?.result({ timeout: '5s' });
// @ts-expect-error a stamp is a value or a list of values
add.with({ stamps: { tenant: { name: 'acme' } } });
