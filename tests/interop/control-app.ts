/** A worker of ours for `celery inspect` and `celery control` to look at and to steer. */
import { createApp, taskContext } from 'lovage';

const app = createApp({
  name: 'controlled',
  logger: {
    debug() {},
    info() {},
    warn() {},
    error() {},
    child() {
      return this;
    },
  },
});

/** Runs until it is told to end, or for a minute. */
app.fn('control.hold', async (seconds: number = 60) => {
  const { signal } = taskContext();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1_000);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
});

app.fn('control.add', (x: number, y: number) => x + y, { rateLimit: '100/s' });

app.controlCommand('interop_double', ({ value }) => ({ doubled: Number(value) * 2 }));
app.controlCommand('interop_fail', () => {
  throw new RangeError('not today');
});

export default app;
