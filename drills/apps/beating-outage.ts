/** Schedules of the drill two-beats whose broker goes away, one a policy. Nobody takes their messages, so that each send can be counted. */
import { createApp } from 'lovage';
import './noted.js';

export const app = createApp({ name: 'drills-outage' });

const append = app.remote<[ms: number], string>('drill.append');

for (const catchUp of ['none', 'last', 'all'] as const)
  app.schedule(catchUp, { every: '4s', catchUp }, append.si(0).with({ queue: `outage-${catchUp}` }));
