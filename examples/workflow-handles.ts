/** What belongs to a workflow: parents, graph, progress, saving. Run it: npx tsx examples/workflow-handles.ts */
import { chain, createApp, group } from 'lovage';

const app = createApp({ name: 'library', broker: 'memory:' });

const fetchPages = app.fn('fetchPages', (book: string) => [`${book} of the garden`, `${book} of the wood and the field`]);
const words = app.fn('words', (pages: string[], at: number) => (pages[at] ?? '').split(' ').length);
const count = app.fn('count', (text: string) => text.split(' ').length);
const sum = app.fn('sum', (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0));

const worker = await app.worker();
const SOON = { timeout: '10s' } as const;

const total = await chain(fetchPages.si('herbs'), group(words.s(0), words.s(1)), sum.s()).send();
console.log('words:', await total.result(SOON));

const parts = await total.parent(); // of a body the group before it, of a step the step before it
console.log('parts:', await parts?.result(SOON));

await total.save();
const restored = await app.restore(total.id); // in another process, say
for (const { name, state } of (await restored?.graph())?.nodes ?? []) console.log(name ?? 'group', state);

const many = await group(['a b', 'a b c', 'a'].map((text) => count.si(text))).send();
for await (const { done, failed, total: all } of many.watch(SOON))
  if (done === all) console.log(`${done} of ${all}, ${failed} failed`);

await worker.close();
await app.close();

/* Output:
words: 11
parts: [ 4, 7 ]
sum SUCCESS
group null
words SUCCESS
words SUCCESS
fetchPages SUCCESS
3 of 3, 0 failed
*/
