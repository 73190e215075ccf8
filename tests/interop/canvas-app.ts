/**
 * The tasks of examples/interop/app.ts, one that leaves a trace (for callbacks and errbacks, whose results it may be that
 * nobody can read), and one that is a body of chords.
 */
import { appendFileSync } from 'node:fs';
import { chain, taskContext, type WireValue } from 'lovage';
import { app } from '../../examples/interop/app.js';

/** Writes what it was called with, and whose child it is, as a line of JSON. */
app.fn('interop.note', (...args: WireValue[]) => {
  const { id, parentId, rootId } = taskContext();
  const ledger = process.env.INTEROP_LEDGER;
  if (ledger) appendFileSync(ledger, `${JSON.stringify({ id, args, parentId, rootId })}\n`);
  return args;
});

/** What its message was stamped with. */
app.fn('interop.stamps', () => ({ ...taskContext().stamps }) as { [name: string]: WireValue });

/** The body of chords. */
app.fn('interop.sum', (numbers: number[]) => numbers.reduce((total, number) => total + number, 0));

/** Gives its place to a chain of a Python task and one of ours, which adds 1 and 10. */
const theirAdd = app.remote<[x: number, y: number], number>('py.add', { queue: 'python' });
const ourAdd = app.remote<[x: number, y: number], number>('interop.add', { queue: 'interop' });
app.fn('interop.swap', (value: number): number => {
  throw taskContext().replace(chain(theirAdd.si(value, 1), ourAdd.s(10)));
});

/** Adds a part in each language to the chord that it is a part of. */
app.fn('interop.grow', async (value: number): Promise<number> => {
  await taskContext().addToChord(theirAdd.si(value, 100));
  await taskContext().addToChord(ourAdd.si(value, 1_000));
  return value;
});

export { app };
