import { expect, test } from 'vitest';
import { ConfigError } from '../../core/errors.js';
import { isBusy, isFull, toBrokerError } from './faults.js';

/** As `node:sqlite` throws them, and as libsql does. */
const builtin = (errcode: number): Error => Object.assign(new Error('builtin says so'), { code: 'ERR_SQLITE_ERROR', errcode });
const libsql = (rawCode: number, code: string): Error => Object.assign(new Error('libsql says so'), { code, rawCode });

test.each([
  [builtin(5), true],
  [builtin(261), true],
  [builtin(6), true],
  [libsql(5, 'SQLITE_BUSY'), true],
  [Object.assign(new Error('x'), { code: 'SQLITE_BUSY_SNAPSHOT' }), true],
  [builtin(13), false],
  [new Error('something else'), false],
  ['a string', false],
])('busy is told from what is not (%#)', (error, expected) => {
  expect(isBusy(error)).toBe(expected);
});

test('a full disk is told, also when the shared memory file cannot grow', () => {
  expect([builtin(13), builtin(4_874), builtin(10)].map(isFull)).toEqual([true, true, false]);
});

test.each([
  [builtin(13), 'E_BROKER_FULL'],
  [builtin(4_874), 'E_BROKER_FULL'],
  [libsql(11, 'SQLITE_CORRUPT'), 'E_BROKER_CORRUPT'],
  [builtin(267), 'E_BROKER_CORRUPT'],
  [builtin(26), 'E_BROKER_CORRUPT'],
  [builtin(5), 'E_BROKER_UNREACHABLE'],
  [builtin(14), 'E_BROKER_UNREACHABLE'],
  [builtin(8), 'E_BROKER_UNREACHABLE'],
  [builtin(10), 'E_BROKER_UNREACHABLE'],
  [builtin(1), 'E_INTERNAL'],
  [new TypeError('a bug'), 'E_INTERNAL'],
])('%s becomes %s, with the path and the cause', (error, code) => {
  const fault = toBrokerError(error, '/var/q.db');
  expect(fault).toMatchObject({ name: 'BrokerError', code, cause: error });
  expect(fault.message).toContain('/var/q.db');
});

test('errors of ours stay what they are', () => {
  const error = new ConfigError('E_CONFIG_URL', 'no');
  expect(toBrokerError(error, '/var/q.db')).toBe(error);
});
