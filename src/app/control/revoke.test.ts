/** Revoking, step by step, over a gateway that writes down what it is asked. Whole: `tests/control/revoke.test.ts`. */
import { describe, expect, test } from 'vitest';
import { ScriptedGateway } from '../../testing/scripted-gateway.js';
import { decodeControlRequest } from '../../wire/control-message.js';
import { EPOCH_HEADER } from '../../wire/own-headers.js';
import { encodeResultMeta } from '../../wire/result-meta.js';
import { encodeTaskMessage } from '../../wire/task-message.js';
import { ResultHandle } from '../task-handle.js';
import { checkRevokeOptions, checkTaskIds, revokeTasks } from './revoke.js';

const NOW = Date.UTC(2026, 10, 21);
const HOUR_MS = 3_600_000;

function setUp() {
  const gateway = new ScriptedGateway();
  const revoker = { gateway, resultTtlMs: 60_000, nowMs: () => NOW };
  const revoke = (ids: readonly string[], options = {}, facts = {}) =>
    revokeTasks(revoker, ids, options, { etaMs: null, keepsResults: true, ...facts });
  const told = () => gateway.broadcasts.map(({ message }) => decodeControlRequest(message).arguments);
  const keep = (id: string, status: string) =>
    gateway.metas.set(
      id,
      encodeResultMeta({ status, resultJson: 'null', traceback: null, children: null, dateDone: null, taskId: id }),
    );
  return { gateway, revoke, told, keep };
}

describe('revoking', () => {
  test('removes what waits, records the rest, tells everybody of all, and stores REVOKED for each', async () => {
    const { gateway, revoke, told } = setUp();
    const message = encodeTaskMessage(
      { task: 't', id: 'waits', args: [], kwargs: {}, parentId: 'p', replyTo: 'reply-queue' },
      { nowMs: NOW },
    );
    gateway.waiting.set('waits', { ...message, headers: { ...message.headers, [EPOCH_HEADER]: 4 } });
    const outcomes = await revoke(['waits', 'somewhere']);
    expect([...outcomes]).toEqual([
      ['waits', 'removed'],
      ['somewhere', 'recorded'],
    ]);
    expect([...gateway.recorded]).toEqual([['somewhere', 3 * HOUR_MS]]);
    expect(told()).toEqual([{ task_id: ['waits', 'somewhere'], terminate: false, signal: 'SIGTERM', lovage_stored: true }]);
    expect(gateway.broadcasts[0]).toMatchObject({ exchange: 'celery.pidbox', routingKey: '' });
    expect(gateway.stored).toMatchObject([
      { id: 'waits', state: 'REVOKED', epoch: 4, ttlMs: 60_000, replyTo: 'reply-queue' },
      { id: 'somewhere', state: 'REVOKED', epoch: 0, replyTo: null },
    ]);
    expect(JSON.parse(gateway.stored[0]?.meta ?? '')).toMatchObject({
      status: 'REVOKED',
      task_id: 'waits',
      parent_id: 'p',
      children: null,
      traceback: null,
      result: { exc_type: 'TaskRevokedError', exc_message: ['revoked'], exc_module: 'celery.exceptions' },
    });
  });

  test('says that only those who listen know of it, when there is no room for a record', async () => {
    const { gateway, revoke, told } = setUp();
    gateway.hasRoom = false;
    expect((await revoke(['a'])).get('a')).toBe('broadcast-only');
    expect(told()).toHaveLength(1);
  });

  test.each(['SUCCESS', 'FAILURE', 'REVOKED', 'STARTED', 'PROGRESS'])('leaves a result alone that is %s', async (state) => {
    const { gateway, revoke, keep } = setUp();
    keep('a', state);
    await revoke(['a']);
    expect(gateway.stored).toEqual([]);
  });

  test('writes over RETRY: the task has not begun again', async () => {
    const { gateway, revoke, keep } = setUp();
    keep('a', 'RETRY');
    await revoke(['a']);
    expect(gateway.stored).toHaveLength(1);
  });

  test('is remembered until an hour after the time at which the task was to run, and three hours at least', async () => {
    const { gateway, revoke } = setUp();
    await revoke(['soon'], {}, { etaMs: NOW + HOUR_MS });
    await revoke(['late'], {}, { etaMs: NOW + 240 * HOUR_MS });
    expect([...gateway.recorded.values()]).toEqual([3 * HOUR_MS, 241 * HOUR_MS]);
  });

  test('takes many ids in steps, each of which is told by a message of its own', async () => {
    const { gateway, revoke, told } = setUp();
    const ids = Array.from({ length: 2_500 }, (_, index) => `id-${index}`);
    expect((await revoke(ids)).size).toBe(2_500);
    expect(told().map(({ task_id }) => (task_id as string[]).length)).toEqual([1_000, 1_000, 500]);
    expect(gateway.stored).toHaveLength(2_500);
  });

  test('a handle gives the time of its task, its wish for no result, terminate and signal', async () => {
    const { gateway, told } = setUp();
    const owner = { gateway: () => gateway, resultTtlMs: null, nowMs: () => NOW };
    const handle = new ResultHandle('a', false, owner, false, NOW + 10 * HOUR_MS);
    expect(await handle.revoke({ terminate: true, signal: 'SIGKILL' })).toBe('recorded');
    expect(gateway.recorded.get('a')).toBe(11 * HOUR_MS);
    expect(told()).toEqual([{ task_id: ['a'], terminate: true, signal: 'SIGKILL', lovage_stored: true }]);
    expect(gateway.stored).toEqual([]);
  });

  test('refuses options and ids that mean nothing', () => {
    const check =
      (options: object, takes: 'one' | 'ids' = 'one') =>
      () =>
        checkRevokeOptions(options, 'revoke()', takes);
    expect(check({ kill: true })).toThrow(/revoke\(\)/);
    expect(check({ signal: '9' })).toThrow(/SIGTERM/);
    expect(check({ eta: new Date() })).toThrow(/eta/);
    expect(check({ eta: new Date(Number.NaN) }, 'ids')).toThrow(/Date/);
    expect(check({ eta: new Date(), signal: 'KILL' }, 'ids')).not.toThrow();
    for (const ids of [[], [''], 'x'.repeat(1_025), [1] as never]) expect(() => checkTaskIds(ids, 'it')).toThrow(/task id/);
    expect(checkTaskIds(['a', 'b', 'a'], 'it')).toEqual(['a', 'b']);
  });
});
