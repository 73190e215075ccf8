/** The schedules of the drill beat-failover: one whose tasks a worker runs, and one whose messages nobody takes, so that each send can be counted. */
import { createApp } from 'lovage';

export const app = createApp({ name: 'drills-beat' });

const append = app.remote<[ms: number], string>('drill.append', { queue: 'beats' });

app.schedule('runs', { every: '1s', catchUp: 'all' }, append.si(0));
app.schedule('sends', { every: '1s', catchUp: 'all' }, append.si(0).with({ queue: 'beat-sends' }));
app.schedule('minutes', { cron: '* * * * *', catchUp: 'all' }, append.si(0));
