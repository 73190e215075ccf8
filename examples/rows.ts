/** One task for many rows: map, starmap and chunks. Run it: npx tsx examples/rows.ts */
import { chain, chord, createApp } from 'lovage';

const app = createApp({ name: 'harvest', broker: 'memory:' });

const dry = app.fn('dry', (grams: number) => grams / 5);
const mix = app.fn('mix', (herb: string, grams: number) => `${grams} g ${herb}`);
const sum = app.fn('sum', (numbers: number[]) => numbers.reduce((total, each) => total + each, 0));
const label = app.fn('label', (boxes: string[][]) => boxes.map((jars) => jars.join(', ')).join(' | '));

const worker = await app.worker();
const SOON = { timeout: '10s' } as const;

// one message, one task, one result: the list
const dried = await dry.map([50, 100, 250]).send();
console.log('dried:', await dried.result(SOON));
console.log('in all:', await (await chain(dry.map([50, 100, 250]), sum.s()).send()).result(SOON));

// each row is all arguments
const jars: [herb: string, grams: number][] = [
  ['lovage', 10],
  ['celery', 20],
  ['dill', 30],
];
console.log('mixed:', await (await mix.starmap(jars).send()).result(SOON));

// a message for two rows each, which run side by side: a group
const boxes = mix.with({ timeLimit: '5m' }).chunks(jars, 2);
console.log('boxes:', await (await boxes.send()).result(SOON));
console.log('labels:', await (await chord(boxes, label.s()).send()).result(SOON));

await worker.close();
await app.close();

/* Output:
dried: [ 10, 20, 50 ]
in all: 80
mixed: [ '10 g lovage', '20 g celery', '30 g dill' ]
boxes: [ [ '10 g lovage', '20 g celery' ], [ '30 g dill' ] ]
labels: 10 g lovage, 20 g celery | 30 g dill
*/
