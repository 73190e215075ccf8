/** Schedules of the drill two-beats whose clock is set. Nobody takes their messages, so that each send can be counted. */
import { createApp } from 'lovage';
import './noted.js';

export const app = createApp({ name: 'drills-clocks' });

const append = app.remote<[ms: number], string>('drill.append');

// an hour has 360 of them: all are caught up
app.schedule('tens', { every: '10s', catchUp: { slots: 'all', max: 1_000 } }, append.si(0).with({ queue: 'clock-tens' }));
app.schedule('seconds', { every: '1s', catchUp: 'none' }, append.si(0).with({ queue: 'clock-seconds' }));
