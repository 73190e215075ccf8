/** A schedule that is not due while the drill idle-fleet watches: a month away from any day on which it is run. */
import { createApp } from 'lovage';

export const app = createApp({ name: 'drills-resting' });

const append = app.remote<[ms: number], string>('drill.append', { queue: 'resting' });
const month = ((new Date().getMonth() + 6) % 12) + 1;

app.schedule('much-later', { cron: `0 0 1 ${month} *` }, append.si(0));
