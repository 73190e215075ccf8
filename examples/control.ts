/** Asking and steering workers while they run. Run it: npx tsx examples/control.ts */
import { createApp } from 'lovage';

const app = createApp({ name: 'control', broker: 'memory:' });
const mail = app.fn('mails.send', (to: string) => console.log('mail to', to));
// A command of your own: all workers answer it, to `lovage inspect call` and to Python's control client too.
app.controlCommand('letters_in', ({ word }) => String(word).length);
const worker = await app.worker({ name: 'w1@example', queues: ['lovage', 'slow'] });

const { answers, complete } = await app.control.ping();
console.log([...answers.keys()], complete); // as soon as all have answered

const { answers: queues } = await app.control.activeQueues({ destination: 'w1@example' });
console.log(queues.get('w1@example')?.map((queue) => queue['name']));

const { errors } = await app.control.rateLimit('no.such.task', '10/m');
console.log(errors.get('w1@example'));

const { answers: letters } = await app.control.call<number>('letters_in', { word: 'lovage' });
console.log(letters.get('w1@example'));

await app.control.pauseQueues('slow'); // holds for workers that start later, until it is resumed
const ada = await mail.with({ queue: 'slow' }).send('ada');
const grace = await mail.send('grace');
await grace.result({ timeout: '10s' });
console.log((await app.control.paused()).map(({ kind, name }) => `${kind} ${name} is paused`));

const { changed } = await app.control.resumeQueues('slow');
console.log('resumed:', changed);
await ada.result({ timeout: '10s' });
await worker.close();
await app.close();

/* Output:
[ 'w1@example' ] true
[ 'lovage', 'slow' ]
unknown task
6
mail to grace
[ 'queue slow is paused' ]
resumed: [ 'slow' ]
mail to ada
*/
