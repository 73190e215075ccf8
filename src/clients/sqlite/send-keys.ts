/**
 * Keys that are taken for a time, in the embedded file: the table `send_keys`. The file broker takes them in the transaction
 * that stores the message; for other brokers the file's result store swaps them one by one.
 *
 * Bounded: each ends, and whoever takes one removes some that have ended.
 */
import type { SendKeySwap } from '../../core/send-keys.js';
import type { SqliteConnection } from './driver.js';
import type { OperationContext } from './operations.js';

/** More than one is added at a time, so the table shrinks. */
const SWEEP_STEP = 10;

export interface SendKeyRows {
  /** Puts the value there if what stands there is as expected, and gives `null`; otherwise gives what stands there. */
  swap(argument: SendKeySwap): string | null;
}

export function sendKeyRows(connection: SqliteConnection, context: OperationContext): SendKeyRows {
  const dropEnded = connection.prepare(
    'DELETE FROM send_keys WHERE key IN (SELECT key FROM send_keys WHERE until <= ? ORDER BY until LIMIT ?)',
  );
  const find = connection.prepare('SELECT value FROM send_keys WHERE key = ? AND until > ?');
  const put = connection.prepare('INSERT OR REPLACE INTO send_keys VALUES(?, ?, ?)');
  const drop = connection.prepare('DELETE FROM send_keys WHERE key = ?');
  return {
    swap({ key, expected, value, ttlMs }) {
      const nowMs = context.nowMs();
      dropEnded.run([nowMs, SWEEP_STEP]);
      const there = find.get([key, nowMs])?.['value'];
      const current = typeof there === 'string' ? there : null;
      // Nothing there is another answer than the value that was expected: an empty text, which is nobody's value.
      if (current !== expected) return current ?? '';
      if (value === null) drop.run([key]);
      else put.run([key, value, nowMs + Math.ceil(ttlMs)]);
      return null;
    },
  };
}
