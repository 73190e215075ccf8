/**
 * Schedules in code, and a look at their slots before they happen. Run it: npx tsx examples/schedules.ts
 * To have them sent: npx lovage worker --app examples/schedules.ts --beat
 */
import { createApp } from 'lovage';
import { describeSchedule, parseSchedule, previewSlots } from 'lovage/schedules';

export const app = createApp({ name: 'shop' });

const report = app.fn('report', (kind: string) => `the ${kind} report`);
const clean = app.fn('clean', () => 'clean');

const nightly = { cron: '30 2 * * mon-fri', timezone: 'Europe/Berlin' } as const;

app.schedule('nightly-report', { ...nightly, catchUp: 'last', expires: '6h' }, report.si('nightly'));
app.schedule('cleanup', { every: '15m', jitter: '1m', overlap: 'skip' }, clean.si());

const schedule = parseSchedule(nightly);
console.log(describeSchedule(schedule));
// the night in which the clock is put forward has no 02:30, but that is a Sunday
for (const { local } of previewSlots(schedule, Date.UTC(2026, 2, 27, 12), 2)) console.log(local);

await app.close();

/* Output:
At 02:30 on Monday to Friday, Europe/Berlin
2026-03-30T02:30:00+02:00
2026-03-31T02:30:00+02:00
*/
