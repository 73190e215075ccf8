import { describe, expect, test } from 'vitest';
import type { TaskDefinition } from '../../app/definition.js';
import { silentLogger } from '../../core/logger.js';
import { decodeTaskBody, encodeTaskMessage, type TaskCall } from '../../wire/task-message.js';
import type { Outcome, RunRequest } from '../port.js';
import { type ExecuteOptions, startRun } from './execute.js';

const OPTIONS: TaskDefinition['options'] = {
  queue: null,
  retry: null,
  softTimeLimitMs: null,
  timeLimitMs: null,
  rateLimit: null,
  ack: 'late',
  ignoreResult: false,
  resultTtlMs: null,
  trackStarted: false,
  isExpected: () => false,
};

function definition(execute: TaskDefinition['execute']): TaskDefinition {
  return { name: 't', options: OPTIONS, execute, onSuccess: null, onFailure: null, onRetry: null, onExhausted: null };
}

function request(call: Partial<TaskCall> = {}): RunRequest {
  const message = encodeTaskMessage({ task: 't', id: 'a', args: [], kwargs: {}, ...call }, { nowMs: 0 });
  return { run: 1, name: 't', queue: 'q', redelivered: false, message, softTimeLimitMs: null, timeLimitMs: null };
}

/** An executor that knows one task and hears of nothing but the outcome. */
function host(task: TaskDefinition | undefined, finish: (outcome: Outcome) => void): ExecuteOptions {
  return {
    find: () => task,
    middleware: [],
    publishHooks: [],
    logger: silentLogger,
    json: 'tagged',
    canvas: () => ({ json: 'tagged', maxMessageBytes: 1_000, lowerIsSooner: false, routes: [], tasks: {} }),
    postState: () => {},
    postEvent: () => {},
    addPart: async () => 'added',
    stepsOf: () => ({ read: async () => null, write: async () => ({ kind: 'stored' }) }),
    finish,
    entered: null,
  };
}

/** Runs one task to its outcome. */
function run(task: TaskDefinition | undefined, given: RunRequest, more: Partial<ExecuteOptions> = {}): Promise<Outcome> {
  return new Promise((finish) => {
    startRun(given, { ...host(task, finish), ...more });
  });
}

describe('one run', () => {
  test('a result is written as the app wants its JSON', async () => {
    const date = definition(() => new Date('2026-01-02T03:04:05Z'));
    expect(await run(date, request())).toMatchObject({ kind: 'success', resultJson: expect.stringContaining('__type__') });
    expect(await run(date, request(), { json: 'plain' })).toMatchObject({
      kind: 'success',
      resultJson: expect.not.stringContaining('__type__'),
    });
  });

  const signature = { task: 'next', args: [4], kwargs: {}, options: {}, subtask_type: null, immutable: false };

  test('a success comes with the messages that follow it, which its result lists', async () => {
    const task = definition(() => 3);
    const step = { ...signature, options: { task_id: 'b', queue: 'other' } };
    const outcome = (await run(task, request({ chain: [step], callbacks: [signature] }))) as Extract<
      Outcome,
      { kind: 'success' }
    >;
    expect(outcome).toMatchObject({ kind: 'success', canvas: true, resultJson: '3' });
    expect(outcome.follow?.map(({ to, message }) => [to.queue, message.headers['task'], decodeTaskBody(message).args])).toEqual([
      ['celery', 'next', [3, 4]],
      ['other', 'next', [3, 4]],
    ]);
    expect(outcome.children).toEqual([outcome.follow?.[0]?.message.headers['id'], 'b']);
  });

  test('what follows has the same ids when the task runs again', async () => {
    const task = definition(() => 3);
    const ids = async (): Promise<unknown> => (await run(task, request({ callbacks: [signature, signature] }))).children;
    expect(await ids()).toEqual(await ids());
  });

  test('a result that the next step cannot take makes a failure: whoever waits for the end must hear of it', async () => {
    const long = definition(() => 'x'.repeat(2_000));
    expect(await run(long, request({ chain: [{ ...signature, options: { task_id: 'b' } }] }))).toMatchObject({
      kind: 'failure',
      canvas: true,
      exceptionJson: expect.stringContaining('maxMessageSize'),
    });
  });

  test('a chord that follows comes with its size and body, to be opened before its parts are sent', async () => {
    const member = (id: string) => ({ ...signature, options: { task_id: id } });
    const header = {
      ...signature,
      task: 'celery.group',
      args: [],
      kwargs: { tasks: [member('c'), member('d')] },
      options: { task_id: 'g' },
    };
    const body = { ...signature, task: 'body', options: { task_id: 'e' } };
    const chord = {
      ...signature,
      task: 'celery.chord',
      args: [],
      kwargs: { kwargs: {}, header, body },
      options: { task_id: 'g' },
    };
    const outcome = (await run(
      definition(() => 3),
      request({ chain: [chord] }),
    )) as Extract<Outcome, { kind: 'success' }>;
    expect(outcome.chords).toMatchObject([{ groupId: 'g', size: 2, body: expect.stringContaining('"body"') }]);
    expect(
      outcome.follow?.map(({ message }) => [message.headers['id'], message.headers['group'], decodeTaskBody(message).args]),
    ).toEqual([
      ['c', 'g', [3, 4]],
      ['d', 'g', [3, 4]],
    ]);
    expect(outcome.children).toEqual([{ group: 'g', members: ['c', 'd'] }, 'e']);
  });

  test('what is no canvas behind a task makes a failure of it', async () => {
    const broken = { ...signature, task: 'celery.group', kwargs: { tasks: 'none' } };
    expect(
      await run(
        definition(() => 3),
        request({ chain: [broken] }),
      ),
    ).toMatchObject({ kind: 'failure', canvas: true });
  });

  test('empty lists of callbacks continue nothing', async () => {
    expect(
      await run(
        definition(() => 1),
        request({ callbacks: [], errbacks: [], chain: [] }),
      ),
    ).toMatchObject({ kind: 'success' });
  });

  test('a body that is no task body is parked', async () => {
    const broken = { ...request(), message: { ...request().message, body: { encoding: 'utf8', data: '[[],{}]' } as const } };
    expect(
      await run(
        definition(() => 1),
        broken,
      ),
    ).toMatchObject({ kind: 'undecodable', code: 'E_DECODE' });
  });

  test('args that are no array are the failure of the sender', async () => {
    const broken = { ...request(), message: { ...request().message, body: { encoding: 'utf8', data: '[null,{},{}]' } as const } };
    expect(
      await run(
        definition(() => 1),
        broken,
      ),
    ).toMatchObject({ kind: 'failure', exceptionJson: expect.stringContaining('args') });
  });

  test('middleware runs around the handler, the first outermost, and may change the result', async () => {
    const seen: string[] = [];
    const middleware: ExecuteOptions['middleware'] = [
      async (_, next) => {
        seen.push('outer');
        return `${String(await next())}!`;
      },
      async (_, next) => {
        seen.push('inner');
        return next();
      },
    ];
    expect(
      await run(
        definition(() => 'x'),
        request(),
        { middleware },
      ),
    ).toMatchObject({ kind: 'success', resultJson: '"x!"' });
    expect(seen).toEqual(['outer', 'inner']);
  });

  test('an outcome is handed in once, also when a failed task goes on', async () => {
    const outcomes: Outcome[] = [];
    let release: (value: number) => void = () => {};
    const slow = {
      ...definition(
        () =>
          new Promise((resolve) => {
            release = resolve;
          }),
      ),
    };
    await new Promise<void>((resolve) => {
      startRun(
        { ...request(), timeLimitMs: 10 },
        host(slow, (outcome) => {
          outcomes.push(outcome);
          resolve();
        }),
      );
    });
    release(1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(outcomes).toHaveLength(1);
    expect(outcomes[0]).toMatchObject({ kind: 'failure', exceptionJson: expect.stringContaining('TimeLimitExceeded') });
  });

  describe('revoked while it runs', () => {
    /** Starts a task that heeds its signal in some way, revokes it, and gives the outcome. */
    async function revoke(onAbort: (reason: unknown) => unknown, more: Partial<TaskDefinition> = {}): Promise<Outcome> {
      const task = {
        ...definition(
          (_args, _kwargs, context) =>
            new Promise((resolve, reject) => {
              const { signal } = context;
              signal.addEventListener('abort', () => {
                try {
                  resolve(onAbort(signal.reason));
                } catch (error) {
                  reject(error);
                }
              });
            }),
        ),
        ...more,
      };
      return new Promise((finish) => {
        const started = startRun(request(), host(task, finish));
        started?.context.revoke();
      });
    }

    test('is revoked whether it ends by throwing or by returning, and its signal says why', async () => {
      let reason: unknown;
      const heeded = await revoke((given) => {
        reason = given;
        return 'half done';
      });
      expect(heeded).toMatchObject({ kind: 'revoked', begun: true, abandoned: false });
      expect(reason).toMatchObject({ code: 'E_TASK_REVOKED' });
      expect(
        await revoke((error) => {
          throw error;
        }),
      ).toMatchObject({ kind: 'revoked', begun: true, abandoned: false });
    });

    test('runs no hook of success, failure or retry, and is not tried again', async () => {
      const hooks: string[] = [];
      const note = (name: string) => () => void hooks.push(name);
      const all = {
        onSuccess: note('success'),
        onFailure: note('failure'),
        onRetry: note('retry'),
        onExhausted: note('exhausted'),
      };
      const retry = { max: 3, backoff: 'exponential', baseMs: 1, capMs: 1, jitter: 'none', isRetryable: () => true } as const;
      const outcomes = [
        await revoke(() => 'done', all),
        await revoke(
          () => {
            throw new Error('interrupted');
          },
          { ...all, options: { ...OPTIONS, retry } },
        ),
      ];
      expect(outcomes.map(({ kind }) => kind)).toEqual(['revoked', 'revoked']);
      expect(hooks).toEqual([]);
    });

    test('is revoked although its soft limit had aborted the signal before', async () => {
      const slow = definition(() => new Promise(() => {}));
      const outcome = await new Promise<Outcome>((finish) => {
        const started = startRun(request(), host(slow, finish));
        started?.context.abort('soft-time-limit');
        started?.context.revoke();
        started?.settle({ kind: 'revoked', begun: true, abandoned: true });
      });
      expect(outcome).toMatchObject({ kind: 'revoked', abandoned: true });
    });
  });
});
