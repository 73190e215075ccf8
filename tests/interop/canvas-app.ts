/**
 * The tasks of examples/interop/app.ts, one that leaves a trace (for callbacks and errbacks, whose results it may be that
 * nobody can read), and one that is a body of chords.
 */
import { appendFileSync } from 'node:fs';
import { taskContext, type WireValue } from 'lovage';
import { app } from '../../examples/interop/app.js';

/** Writes what it was called with, and whose child it is, as a line of JSON. */
app.fn('interop.note', (...args: WireValue[]) => {
  const { id, parentId, rootId } = taskContext();
  const ledger = process.env.INTEROP_LEDGER;
  if (ledger) appendFileSync(ledger, `${JSON.stringify({ id, args, parentId, rootId })}\n`);
  return args;
});

/** The body of chords. */
app.fn('interop.sum', (numbers: number[]) => numbers.reduce((total, number) => total + number, 0));

export { app };
