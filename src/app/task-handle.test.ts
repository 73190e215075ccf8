import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { TaskFailedError } from '../core/errors.js';
import { ScriptedGateway } from '../testing/scripted-gateway.js';
import { encodeException } from '../wire/exception-info.js';
import { encodeResultMeta } from '../wire/result-meta.js';
import { activeRun, type TaskContext } from './task-context.js';
import { ResultHandle, type TaskStatus } from './task-handle.js';

const DONE = Date.UTC(2026, 10, 21);
const meta = (status: string, resultJson: string, traceback: string | null = null): string =>
  encodeResultMeta({ status, resultJson, traceback, children: ['child-1'], dateDone: DONE, taskId: 'id-1' });

function setUp(stored?: string, keepsResult = true) {
  const gateway = new ScriptedGateway();
  if (stored !== undefined) gateway.metas.set('id-1', stored);
  return {
    gateway,
    handle: new ResultHandle<unknown>('id-1', keepsResult, { gateway: () => gateway, resultTtlMs: 60_000, nowMs: () => DONE }),
  };
}

test('result() gives the result of a success, with its types', async () => {
  const { handle } = setUp(meta('SUCCESS', '{"at":{"__type__":"datetime","__value__":"2026-01-01T00:00:00+00:00"},"n":1}'));
  expect(await handle.result({ timeout: '1s' })).toEqual({ at: new Date('2026-01-01T00:00:00Z'), n: 1 });
});

test('result() of a failure throws with the type, message and traceback of the task', async () => {
  const { handle } = setUp(meta('FAILURE', encodeException(new RangeError('too far')).json, 'the stack'));
  const error = await handle.result({ timeout: '1s' }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(TaskFailedError);
  expect(error).toMatchObject({
    code: 'E_TASK_FAILED',
    message: 'RangeError: too far',
    type: 'RangeError',
    traceback: 'the stack',
    taskId: 'id-1',
  });
});

test('result() of a revoked task throws E_TASK_REVOKED with the reason', async () => {
  const { handle } = setUp(
    meta('REVOKED', '{"exc_type":"TaskRevokedError","exc_message":["expired"],"exc_module":"celery.exceptions"}'),
  );
  await expect(handle.result({ timeout: '1s' })).rejects.toMatchObject({
    code: 'E_TASK_REVOKED',
    message: expect.stringContaining('expired'),
  });
});

test('result() gives up after its timeout and says that the task may still run', async () => {
  const { handle } = setUp();
  await expect(handle.result({ timeout: '10ms' })).rejects.toMatchObject({
    code: 'E_RESULT_TIMEOUT',
    message: 'no result of task id-1 within 10ms; it may still run',
  });
});

test('result() takes a signal, and leaves no listener on it', async () => {
  const { handle } = setUp();
  const controller = new AbortController();
  const waiting = handle.result({ timeout: '10s', signal: controller.signal });
  controller.abort(new Error('changed my mind'));
  await expect(waiting).rejects.toThrow('changed my mind');
  expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  await expect(handle.result({ timeout: '10s', signal: controller.signal })).rejects.toThrow('changed my mind');
});

test('result() tells states on the way', async () => {
  const { gateway, handle } = setUp();
  gateway.onWait = async (_id, _signal, onUpdate) => {
    onUpdate?.(meta('PROGRESS', '{"current":1,"total":2}'));
    return meta('SUCCESS', '"done"');
  };
  const heard: TaskStatus[] = [];
  expect(await handle.result({ timeout: '1s', onUpdate: (status) => heard.push(status) })).toBe('done');
  expect(heard).toMatchObject([{ state: 'PROGRESS', info: { current: 1, total: 2 } }]);
});

test('result() of a task without result says so at once', async () => {
  const { handle } = setUp(undefined, false);
  await expect(handle.result({ timeout: '1h' })).rejects.toMatchObject({ code: 'E_RESULT_NOT_KEPT' });
});

test('waiting inside a task is refused at once and names the way, unless it is asked for', async () => {
  const { handle } = setUp(meta('SUCCESS', '1'));
  const run = { context: {} as TaskContext, children: [] };
  const refused = activeRun.run(run, () => handle.result({ timeout: '1h' }));
  await expect(refused).rejects.toMatchObject({
    code: 'E_WAIT_INSIDE_TASK',
    message: expect.stringContaining('chain or a chord'),
  });
  expect(await activeRun.run(run, () => handle.result({ timeout: '1s', allowWaitInsideTask: true }))).toBe(1);
});

test.each([
  [undefined, 'E_CONFIG_TYPE'],
  [{}, 'E_CONFIG_TYPE'],
  [{ timeout: 5 }, 'E_CONFIG_RANGE'],
  [{ timeout: '5s', poll: true }, 'E_CONFIG_UNKNOWN_KEY'],
])('result(%j) is refused with %s', async (options, code) => {
  const { handle } = setUp(meta('SUCCESS', '1'));
  await expect(handle.result(options as never)).rejects.toMatchObject({ code });
});

test('status() shows what is stored, and state() its name', async () => {
  expect(await setUp().handle.status()).toMatchObject({
    id: 'id-1',
    state: 'PENDING',
    result: undefined,
    error: null,
    finishedAt: null,
    children: [],
  });
  const success = setUp(meta('SUCCESS', '5')).handle;
  expect(await success.status()).toMatchObject({
    state: 'SUCCESS',
    result: 5,
    info: null,
    finishedAt: new Date(DONE),
    children: ['child-1'],
  });
  expect(await success.state()).toBe('SUCCESS');
  expect(await setUp(meta('PROGRESS', '{"current":1}')).handle.status()).toMatchObject({
    state: 'PROGRESS',
    result: undefined,
    info: { current: 1 },
  });
  expect(await setUp(meta('RETRY', encodeException(new Error('again')).json)).handle.status()).toMatchObject({
    state: 'RETRY',
    info: null,
    error: { type: 'Error', message: 'again' },
  });
});

test('forget() removes the stored result', async () => {
  const { gateway, handle } = setUp(meta('SUCCESS', '5'));
  await handle.forget();
  expect(gateway.forgotten).toEqual(['id-1']);
  expect(await handle.state()).toBe('PENDING');
});
