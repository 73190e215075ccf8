import { expect, test } from 'vitest';
import { resolveRetry } from '../../app/retry-policy.js';
import type { RunContext } from './context.js';
import { judgeThrown } from './failure.js';

const trap = (): never => {
  throw new Error('somebody touched it');
};
const bites = (name: string): object => Object.defineProperty(new Error('bites'), name, { get: trap });

/** Values that throw when they are looked at. */
const HOSTILE: readonly (readonly [string, unknown])[] = [
  ['a proxy', new Proxy({}, { get: trap, has: trap, ownKeys: trap, getPrototypeOf: trap, getOwnPropertyDescriptor: trap })],
  ['a getter of steer', bites('steer')],
  ['a getter of code', bites('code')],
  ['a getter of name', bites('name')],
];

const context = { attempt: 1, aborted: null } as unknown as RunContext;
const definition = (retry: boolean, isExpected: (error: unknown) => boolean = () => false) =>
  ({ options: { retry: resolveRetry(retry), isExpected } }) as unknown as Parameters<typeof judgeThrown>[1];

test.each(HOSTILE)('%s that throws is a failure and not the end of the executor', (_, thrown) => {
  const { outcome } = judgeThrown(thrown, definition(false), context);
  expect(outcome).toMatchObject({ kind: 'failure', traceback: expect.stringMatching(/./) });
});

test.each(HOSTILE)('%s that throws is tried again by a policy', (_, thrown) => {
  expect(judgeThrown(thrown, definition(true), context).outcome).toMatchObject({ kind: 'retry' });
});

test.each(HOSTILE)('%s may be the reason of a retry that the task asks for', (_, cause) => {
  const asked = Object.assign(new Error('again'), { steer: 'retry', delayMs: 50, cause });
  expect(judgeThrown(asked, definition(false), context).outcome).toMatchObject({ kind: 'retry', delayMs: 50 });
});
