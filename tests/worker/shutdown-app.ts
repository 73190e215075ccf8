/** Tasks that take a stop well and tasks that do not. */
import { appendFileSync } from 'node:fs';
import { createApp, taskContext } from 'lovage';

const { LOVAGE_TEST_BROKER: broker, LOVAGE_TEST_RESULTS: results, LOVAGE_TEST_LEDGER: ledger } = process.env;

export const app = createApp({ name: 'shutdown', ...(broker ? { broker } : {}), ...(results ? { results } : {}) });

/** `began key attempt` and `ended key`, outside of anything that Lovage stores. */
const note = (line: string): void => {
  if (ledger) appendFileSync(ledger, `${line}\n`);
};

app.onStop(() => note('hook'));

/** Sleeps and does not look at its signal; a second start, elsewhere, is quick. */
export const deaf = app.fn('s.deaf', async (key: string, ms: number): Promise<string> => {
  const { attempt, redelivered } = taskContext();
  note(`began ${key} ${attempt}`);
  await new Promise((resolve) => setTimeout(resolve, redelivered ? 10 : ms));
  note(`ended ${key}`);
  return key;
});
/** Gives up when asked to. */
export const polite = app.fn('s.polite', async (key: string): Promise<string> => {
  const { attempt, signal, redelivered } = taskContext();
  note(`began ${key} ${attempt}`);
  if (redelivered) return key;
  return await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));
});
/** Keeps its loop. */
export const spinner = app.fn('s.spinner', (key: string, ms: number): string => {
  const { attempt, redelivered } = taskContext();
  note(`began ${key} ${attempt}`);
  const end = performance.now() + (redelivered ? 10 : ms);
  while (performance.now() < end);
  return key;
});
/** Fails, and waits for its next try. */
export const retrying = app.fn(
  's.retrying',
  (key: string): string => {
    const { attempt } = taskContext();
    note(`began ${key} ${attempt}`);
    if (attempt === 1) throw new Error('not yet');
    return key;
  },
  { retry: { max: 3, backoff: 'fixed', base: '3s', jitter: 'none' } },
);
