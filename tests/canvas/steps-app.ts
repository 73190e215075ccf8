/** Tasks made of steps; what really ran stands in a ledger. */
import { appendFileSync, rmSync } from 'node:fs';
import { createApp, taskContext } from 'lovage';

const { LOVAGE_TEST_BROKER: broker, LOVAGE_TEST_LEDGER: ledger } = process.env;

export const app = createApp({ name: 'steps', ...(broker ? { broker } : {}) });

export const note = (line: string): void => {
  if (ledger) appendFileSync(ledger, `${line}\n`);
};

/** The first who takes this order dies of it, as by `kill -9`. */
function dieIfTold(when: string): void {
  try {
    rmSync(`${ledger}.${when}`);
  } catch {
    return; // no such order, or another has taken it
  }
  process.kill(process.pid, 'SIGKILL');
}

/** So many steps one after the other; each adds its number. */
export const climb = app.fn('s.climb', async (steps: number): Promise<number> => {
  const ctx = taskContext();
  let sum = 0;
  for (let nth = 0; nth < steps; nth++) {
    dieIfTold(`before-${nth}`);
    sum += await ctx.step(`step ${nth}`, async () => {
      note(`ran ${nth}`);
      dieIfTold(`in-${nth}`);
      return nth;
    });
  }
  return sum;
});

/** Fails behind its first step as often as told, and gives how often it was tried, and what the first try's step gave. */
export const stumble = app.fn(
  's.stumble',
  async (failures: number): Promise<readonly [number, number]> => {
    const ctx = taskContext();
    const first = await ctx.step('first', () => {
      note('first');
      return ctx.attempt;
    });
    if (ctx.attempt <= failures) throw new Error('stumbled');
    return [ctx.attempt, first];
  },
  { retry: { max: 5, base: '10ms' } },
);

/** Each way to use steps wrongly, and the code that it ends in. */
export const misuse = app.fn('s.misuse', async (): Promise<string[]> => {
  const ctx = taskContext();
  const codes: string[] = [];
  const codeOf = async (work: () => Promise<unknown>): Promise<void> => {
    await work().then(
      () => codes.push('none'),
      (error: { code?: string }) => codes.push(error.code ?? String(error)),
    );
  };
  await codeOf(() => ctx.step('', () => 1));
  await codeOf(() => ctx.step('a function', () => () => {}));
  await codeOf(() => ctx.step('large', () => 'x'.repeat(300_000)));
  await codeOf(() => Promise.all([ctx.step('twice', async () => 1), ctx.step('twice', async () => 2)]));
  // those before stored nothing but `twice`
  for (let nth = 0; nth < 999; nth++) await ctx.step(`step ${nth}`, () => nth);
  await codeOf(() => ctx.step('one too many', () => 1));
  await codeOf(() => ctx.step('step 7', () => 'anew'));
  return codes;
});

/** Calls another task in place, twice; its steps are its own each time. */
export const outer = app.fn('s.outer', async (): Promise<readonly [string, string, boolean]> => {
  const { id } = taskContext();
  return [await inner.run('a'), await inner.run('b'), (await innerId.run()) === id];
});
export const inner = app.fn('s.inner', (text: string): Promise<string> => taskContext().step('same name', () => text));
export const innerId = app.fn('s.inner-id', (): string => taskContext().id);
