/** The tasks of interop with results that say more, and one that is retried. */
import { createApp, taskContext } from 'lovage';

export const app = createApp({ name: 'extended', defaultQueue: 'interop', extendedResults: true });

/** The sum of two numbers; its first try fails. */
export const add = app.fn(
  'interop.add',
  (x: number, y: number) => {
    if (taskContext().attempt === 1) throw new Error('not yet');
    return x + y;
  },
  { params: ['x', 'y'], retry: { max: 1, base: '10ms' } },
);

app.fn('interop.fail', (message: string): number => {
  throw new Error(message);
});
