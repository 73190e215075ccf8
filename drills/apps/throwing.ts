/** Tasks of drill 2: they throw, or retry with, what has broken other task queues. */
import { createApp, taskContext } from 'lovage';
import { noted } from './noted.js';

export const app = createApp({ name: 'throwing', defaultQueue: 'drill' });

/** Cannot be made again from its message alone: what broke the workers of many a Celery shop. */
class NeedsArguments extends Error {
  readonly order: string;
  constructor({ order, total }: { order: string; total: number }) {
    super(`order ${order} of ${total.toFixed(2)} was refused`);
    this.name = 'NeedsArguments';
    this.order = order;
  }
}

function cyclic(): Error {
  const error = new Error('it contains itself') as Error & { self?: unknown };
  error.self = error;
  error.cause = error;
  return error;
}

function deepCauses(): Error {
  let error = new Error('the first of 10,000');
  for (let depth = 0; depth < 10_000; depth++) error = new Error(`because ${depth}`, { cause: error });
  return error;
}

const boobyTrap = (): never => {
  throw new Error('somebody touched it');
};

const hostileProxy = (): unknown =>
  new Proxy(
    {},
    { get: boobyTrap, has: boobyTrap, ownKeys: boobyTrap, getPrototypeOf: boobyTrap, getOwnPropertyDescriptor: boobyTrap },
  );

function hostileGetter(): Error {
  const error = new Error('its fields bite');
  void error.stack; // made now: V8 reads the other fields for it
  for (const name of ['message', 'stack', 'name', 'cause']) Object.defineProperty(error, name, { get: boobyTrap });
  return error;
}

/** What is thrown, by name. */
export const THROWN: Readonly<Record<string, () => unknown>> = {
  requiredArguments: () => new NeedsArguments({ order: 'A-17', total: 12.5 }),
  cycle: cyclic,
  bigint: () => Object.assign(new RangeError('too much'), { amount: 2n ** 70n }),
  rawBigint: () => 12_345_678_901_234_567_890n,
  symbol: () => Symbol('thrown'),
  undefined: () => undefined,
  null: () => null,
  proxy: hostileProxy,
  getter: hostileGetter,
  hugeMessage: () => new Error('x'.repeat(50 * 1_048_576)),
  deepCauses,
  aggregate: () =>
    new AggregateError(
      Array.from({ length: 1_000 }, (_, index) => new Error(`part ${index} of it`)),
      'many',
    ),
};

function thrown(kind: string): unknown {
  return (THROWN[kind] as () => unknown)();
}

/** Fails at once. */
export const fail = app.fn('throwing.fail', (kind: string) =>
  noted(() => {
    throw thrown(kind);
  }),
);

/** Fails, and the policy tries again: three tries. */
export const policy = app.fn(
  'throwing.policy',
  (kind: string) =>
    noted(() => {
      throw thrown(kind);
    }),
  { retry: { max: 2, backoff: 'fixed', base: '50ms', jitter: 'none' } },
);

/** Asks for another try because of what it caught; the third succeeds. */
export const again = app.fn('throwing.again', (kind: string) =>
  noted(() => {
    const { attempt } = taskContext();
    if (attempt < 3) throw taskContext().retry({ in: '50ms', because: thrown(kind) });
    return attempt;
  }),
);
