/** Tasks that end their worker, or keep it from ending. Run by `lovage worker` under a supervisor. */
import { execSync } from 'node:child_process';
import { createApp, taskContext } from 'lovage';

export const app = createApp({ name: 'endings' });

const began = (): void => taskContext().log.info({}, 'began');

/** Never ends, and does not listen to its signal. */
export const hold = app.fn('endings.hold', (): Promise<number> => {
  began();
  return new Promise(() => {});
});

/** Inside a native call, past its hard limit. */
export const block = app.fn(
  'endings.block',
  (): number => {
    began();
    execSync('sleep 20');
    return 0;
  },
  { timeLimit: '500ms' },
);

/** Throws where nobody can catch it. */
export const throwLater = app.fn('endings.throwLater', (): Promise<number> => {
  began();
  setTimeout(() => {
    throw new RangeError('from a timer');
  }, 50);
  return new Promise(() => {});
});

/** Says "all is well" in the worker's name. */
export const exit = app.fn('endings.exit', (): number => process.exit(0));
