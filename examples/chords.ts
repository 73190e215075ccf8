/** Tasks side by side, and one that gets all their results: groups and chords. Run it: npx tsx examples/chords.ts */
import { setTimeout as wait } from 'node:timers/promises';
import { chain, chord, createApp, group, NonRetryableError, type Outcome, taskContext } from 'lovage';

const app = createApp({ name: 'library', broker: 'memory:' });

const open = app.fn('open', (book: string) => `${book}: all of its text`);
const words = app.fn('words', async (text: string) => {
  if (text === '') throw new NonRetryableError('an empty page');
  if (text.startsWith('slow')) await wait(300);
  return text.split(' ').length;
});
const title = app.fn('title', (text: string) => text.split(':')[0] ?? '');
const sum = app.fn('sum', (numbers: number[]) => numbers.reduce((total, each) => total + each, 0));
const card = app.fn('card', ([name, count]: readonly [string, number]) => `${name} has ${count} words`);
const show = app.fn('show', (all: unknown[]) => JSON.stringify(all));
const report = app.fn('report', (outcomes: readonly Outcome<number>[]) =>
  outcomes.map((each) => (each.status === 'fulfilled' ? each.value : each.reason.message)),
);
const volumes = app.fn('volumes', (books: readonly string[]): number => {
  throw taskContext().replace(chord(group(books.map((book) => words.si(book))), sum.s()));
});
const told = { failed: (_text: string) => {} };
const alarm = app.fn('alarm', (failedId: string) => told.failed(failedId));

const worker = await app.worker();
const SOON = { timeout: '10s' } as const;

const both = await group(words.si('slow to count this'), title.si('lovage: a herb')).send();
for await (const member of both.results(SOON)) console.log('member', member.index, member.status);
console.log(await both.result(SOON)); // [number, string]
console.log(await both.progress(), await both.children[0].result(SOON));

const pages = ['one page', 'and another page', 'the last'];
const total = chord(group(pages.map((page) => words.si(page))), sum.s());
console.log('words in all:', await (await total.send()).result(SOON));

// each member gets the text; card() gets the list of what they gave
const index = chain(open.si('lovage'), group(title.s(), words.s()), card.s());
console.log(await (await index.send()).result(SOON));

const shelves = group(group(words.si('a b'), words.si('a b c')), words.si('a'));
console.log('nested:', await (await chord(shelves, show.s()).send()).result(SOON));

const alarmed = new Promise<string>((resolve) => void (told.failed = resolve));
const broken = chord(group(words.si('good'), words.si('')), sum.with({ id: 'sum-1' }).s()).onError(alarm.s());
const handle = await broken.send();
await handle.result(SOON).catch((error) => console.log(error.type, 'an empty page:', error.message.includes('an empty page')));
console.log('alarm:', await alarmed);

const all = chord(group(words.si('good'), words.si('')), report.s(), { settle: 'all' });
console.log('settled:', await (await all.send()).result(SOON));

console.log('all volumes:', await (await volumes.send(['one two', 'three'])).result(SOON));

await worker.close();
await app.close();

/* Output:
member 1 fulfilled
member 0 fulfilled
[ 4, 'lovage' ]
{ total: 2, done: 2, failed: 0 } 4
words in all: 7
lovage has 5 words
nested: [[2,3],1]
ChordError an empty page: true
alarm: sum-1
settled: [ 1, 'an empty page' ]
all volumes: 3
*/
