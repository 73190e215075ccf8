/** Schedules of the drill two-beats whose leaders are killed: one whose tasks a worker runs, and one whose messages nobody takes, so that each send can be counted. */
import { createApp } from 'lovage';
import './noted.js';

export const app = createApp({ name: 'drills-kills' });

const append = app.remote<[ms: number], string>('drill.append', { queue: 'beats' });

app.schedule('runs', { every: '1s', catchUp: 'all' }, append.si(0));
app.schedule('sends', { every: '1s', catchUp: 'all' }, append.si(0).with({ queue: 'beat-sends' }));
app.schedule('minutes', { cron: '* * * * *', catchUp: 'all' }, append.si(0));
app.schedule('minute-sends', { cron: '* * * * *', catchUp: 'all' }, append.si(0).with({ queue: 'minute-sends' }));
