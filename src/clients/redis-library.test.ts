import { describe, expect, test } from 'vitest';
import { redisErrorCode } from './redis-library.js';

function reply(message: string): Error {
  const error = new Error(message);
  error.name = 'ReplyError';
  return error;
}

describe('redisErrorCode', () => {
  test.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", 'OOM'],
    ["READONLY You can't write against a read only replica. script: abc, on @user_script:3.", 'READONLY'],
    [
      "ERR Error running script (call to f_ab12): @user_script:3: @user_script: 3: -READONLY You can't write against a read only replica.",
      'READONLY',
    ],
    [
      "ERR Error running script (call to f_ab12): @user_script:9: @user_script: 9: -OOM command not allowed when used memory > 'maxmemory'.",
      'OOM',
    ],
    ['ERR Error running script (call to f_ab12): @user_script:3: attempt to index a nil value', 'ERR'],
    ['ERR unknown command', 'ERR'],
    ['without a code', 'ERR'],
  ])('reads %s, of Redis 6 and later', (message, code) => {
    expect(redisErrorCode(reply(message))).toBe(code);
  });

  test('is nothing for what the server did not say', () => {
    expect(redisErrorCode(new Error('OOM of our own'))).toBeUndefined();
    expect(redisErrorCode('OOM')).toBeUndefined();
  });
});
