/** What a worker does while its broker cannot be reached: it goes on trying, and gives up only when it was told to. */
import { describe, expect, test } from 'vitest';
import { BrokerError } from '../../core/errors.js';
import { silentLogger } from '../../core/logger.js';
import { patiently } from './connect.js';

const patience = (tries: number | null) => ({ tries, logger: silentLogger, signal: new AbortController().signal });

/** Fails with these, one after the other, then succeeds; counts how often it was called. */
function failing(...codes: ('E_CONNECTION_LOST' | 'E_BROKER_UNREACHABLE' | 'E_BROKER_AUTH')[]) {
  const calls = { count: 0 };
  const act = async (): Promise<void> => {
    const code = codes[calls.count++];
    if (code !== undefined) throw new BrokerError(code, `as told: ${code}`);
  };
  return { act, calls };
}

describe('a worker that starts', () => {
  test('tries again when the broker is away or the connection breaks, for ever unless told otherwise', async () => {
    const { act, calls } = failing('E_CONNECTION_LOST', 'E_BROKER_UNREACHABLE', 'E_CONNECTION_LOST');
    await patiently('broker', act, patience(null));
    expect(calls.count).toBe(4);
  });

  test('gives up after as many tries as it was told, with the last error', async () => {
    const { act, calls } = failing('E_CONNECTION_LOST', 'E_BROKER_UNREACHABLE', 'E_CONNECTION_LOST');
    await expect(patiently('broker', act, patience(2))).rejects.toMatchObject({ code: 'E_BROKER_UNREACHABLE' });
    expect(calls.count).toBe(2);
  });

  test('does not try again what time does not mend', async () => {
    const { act, calls } = failing('E_BROKER_AUTH');
    await expect(patiently('broker', act, patience(null))).rejects.toMatchObject({ code: 'E_BROKER_AUTH' });
    expect(calls.count).toBe(1);
  });
});
