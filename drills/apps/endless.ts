/** Tasks that do not end, each in its own way, for the drills of limits and deploys; and one that always does. */
import { execSync } from 'node:child_process';
import { pbkdf2Sync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createApp, taskContext } from 'lovage';
import { noted, pause, worker } from './noted.js';

export const app = createApp({ name: 'endless', defaultQueue: 'endless' });

/** The limit of all of them. */
const HARD = { timeLimit: '1s' } as const;

/** Yields, and always runs to its end. */
export const append = app.fn('endless.append', (ms: number) =>
  noted(async () => {
    await pause(ms);
    return worker;
  }),
);

/** Waits for a server that accepts and never answers; its soft limit is the way out. */
export const hangingFetch = app.fn(
  'endless.hangingFetch',
  () =>
    noted(async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      try {
        await fetch(`http://127.0.0.1:${port}`, { signal: taskContext().signal });
      } finally {
        server.close();
      }
    }),
  { softTimeLimit: '500ms', timeLimit: '1s' },
);
export const neverEnds = app.fn('endless.neverEnds', () => noted(() => new Promise<null>(() => {})), HARD);
export const busyLoop = app.fn(
  'endless.busyLoop',
  () =>
    noted(() => {
      for (;;);
    }),
  HARD,
);
/** Nobody saw it enter: it keeps the loop after an await. */
export const lateLoop = app.fn(
  'endless.lateLoop',
  () =>
    noted(async () => {
      await pause(50);
      for (;;);
    }),
  HARD,
);
export const regex = app.fn('endless.regex', () => noted(() => /^(a+)+$/.test(`${'a'.repeat(60)}b`)), HARD);
export const atomics = app.fn(
  'endless.atomics',
  () => noted(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)),
  HARD,
);
export const execute = app.fn('endless.execute', () => noted(() => execSync('sleep 60').toString()), HARD);
export const derive = app.fn(
  'endless.derive',
  () => noted(() => pbkdf2Sync('a', 'b', 100_000_000, 64, 'sha512').toString('hex')),
  HARD,
);

/** For deploys: gives up when its signal aborts. */
export const polite = app.fn('endless.polite', (ms: number) =>
  noted(
    () =>
      new Promise<string>((resolve, reject) => {
        const timer = setTimeout(() => resolve(worker), ms);
        const { signal } = taskContext();
        signal.addEventListener(
          'abort',
          () => {
            clearTimeout(timer);
            reject(signal.reason);
          },
          { once: true },
        );
      }),
  ),
);
