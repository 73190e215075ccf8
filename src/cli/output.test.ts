import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { TaskFailedError } from '../core/errors.js';
import { EXIT_CODES, exitCodeOf, UsageError } from './exit-codes.js';
import { errorOf, formatTable, shorten, startProgress } from './output.js';

function stream(isTTY: boolean): NodeJS.WriteStream & { text(): string } {
  const out = new PassThrough();
  let written = '';
  out.on('data', (part: Buffer) => {
    written += part.toString();
  });
  return Object.assign(out, { isTTY, text: () => written }) as unknown as NodeJS.WriteStream & { text(): string };
}

describe('the progress bar', () => {
  test('is painted in place on a terminal and taken away at the end', () => {
    const out = stream(true);
    const progress = startProgress('purging', 200, { stream: out });
    progress.update(50);
    progress.update(51);
    progress.end();
    expect(out.text().split('\r\u001b[K')).toEqual(['', expect.stringMatching(/^purging .* 50 of 200 \(25 %\)$/) as string, '']);
  });

  test('never goes over its end when the total was too small, and knows an empty total', () => {
    for (const [total, done, shown] of [
      [10, 25, '25 of 25 (100 %)'],
      [0, 0, '0 of 0 (100 %)'],
    ] as const) {
      const out = stream(true);
      startProgress('x', total, { stream: out }).update(done);
      expect(out.text()).toContain(shown);
    }
  });

  test('writes no escape codes into a pipe, and nothing at all when it is quick', () => {
    const out = stream(false);
    const progress = startProgress('sending', 10, { stream: out });
    for (let done = 0; done <= 10; done++) progress.update(done);
    progress.end();
    expect(out.text()).toBe('');
  });

  test('is silent when asked to', () => {
    const out = stream(true);
    startProgress('x', 10, { stream: out, silent: true }).update(5);
    expect(out.text()).toBe('');
  });
});

test('a table has no borders and no trailing spaces', () => {
  expect(
    formatTable(
      ['QUEUE', 'READY'],
      [
        ['a', 5],
        ['longer', 1_000],
      ],
      [1],
    ),
  ).toBe('QUEUE   READY\na           5\nlonger   1000');
});

test('text from messages is cut and cannot drive the terminal', () => {
  expect(shorten('a\u001b]0;x\u0007\n\u009b', 80)).toBe('a\\u001b]0;x\\u0007\\n\u005cu009b');
  expect(shorten('x'.repeat(50), 10)).toBe('xxxxxxxxx…');
});

describe('exit codes', () => {
  test('follow the code of an error, from any thread or copy of the package', () => {
    expect(exitCodeOf({ code: 'E_APP_FILE', message: 'from a thread' })).toBe(65);
    expect(exitCodeOf({ code: 'E_BROKER_AUTH' })).toBe(77);
    expect(exitCodeOf({ code: 'E_CONFIG_URL' })).toBe(78);
    expect(exitCodeOf({ code: 'E_BROKER_UNREACHABLE' })).toBe(69);
    expect(exitCodeOf(new UsageError('x'))).toBe(2);
    expect(exitCodeOf(new TaskFailedError('x', { type: 'T', traceback: null, taskId: '1' }))).toBe(1);
    expect(exitCodeOf(new Error('x'))).toBe(1);
    expect(exitCodeOf({ code: 'ECONNREFUSED' })).toBe(1);
    expect(exitCodeOf(undefined)).toBe(1);
  });
  test('are those of the contract', () => {
    expect(Object.keys(EXIT_CODES).map(Number)).toEqual([0, 1, 2, 3, 65, 69, 70, 77, 78]);
  });
});

test('an error that crossed a thread as a plain object keeps its message', () => {
  expect(errorOf({ code: 'E_APP_FILE', message: 'no file' })).toMatchObject({ message: 'no file', code: 'E_APP_FILE' });
  expect(errorOf('text').message).toBe('text');
  expect(errorOf(null)).toBeInstanceOf(Error);
});
