import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/logger.js';
import { ConsumerTimeout } from './consumer-timeout.js';

const refusal = (code: number, message: string): Error => Object.assign(new Error(message), { code });
const struck = (ms: number): Error =>
  refusal(
    406,
    `Channel closed by server: 406 (PRECONDITION-FAILED) with message "PRECONDITION_FAILED - delivery acknowledgement on channel 2 timed out. Timeout value used: ${ms} ms. This timeout value can be configured, see consumers doc guide to learn more"`,
  );

describe('the consumer timeout of a broker', () => {
  test.each(['3.10.8', '3.11.15', '3.13.7', '4.2.5', null])(
    '%s takes no word from a client: deliveries are claimed after half of it',
    (version) => {
      const timeout = new ConsumerTimeout(1_800_000, silentLogger);
      expect(timeout.argumentsFor(version, 'q')).toEqual({});
      expect(timeout.claimAfterMs(version)).toBe(900_000);
    },
  );

  test.each(['4.3.0', '4.10.1', '5.0.0'])('%s lets a subscription set its own, so nothing is claimed', (version) => {
    const timeout = new ConsumerTimeout(1_800_000, silentLogger);
    expect(timeout.argumentsFor(version, 'q')).toEqual({ 'x-consumer-timeout': 604_800_000 });
    expect(timeout.claimAfterMs(version)).toBeNull();
  });

  test('is learnt from the broker when it struck, and the least that was seen counts', () => {
    const timeout = new ConsumerTimeout(1_800_000, silentLogger);
    expect(timeout.learn(struck(20_000))).toBe(20_000);
    expect(timeout.learn(struck(60_000))).toBe(60_000);
    expect(timeout.claimAfterMs('3.10.8')).toBe(10_000);
    expect(timeout.claimAfterMs('4.3.0')).toBe(10_000);
  });

  test('a longer one than expected changes nothing: other queues may have a shorter one', () => {
    const timeout = new ConsumerTimeout(10_000, silentLogger);
    timeout.learn(struck(60_000));
    expect(timeout.claimAfterMs('3.10.8')).toBe(5_000);
  });

  test('a queue that refuses the argument has no timeout, and is asked without it from then on', () => {
    const timeout = new ConsumerTimeout(1_800_000, silentLogger);
    const error = refusal(
      406,
      `PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/' of queue type rabbit_classic_queue`,
    );
    expect(timeout.learn(error, 'q')).toBe('untimed');
    expect(timeout.argumentsFor('4.3.0', 'q')).toEqual({});
    expect(timeout.argumentsFor('4.3.0', 'other')).toEqual({ 'x-consumer-timeout': 604_800_000 });
  });

  test('learns nothing from other errors', () => {
    const timeout = new ConsumerTimeout(1_800_000, silentLogger);
    for (const error of [refusal(406, 'unknown delivery tag 99'), refusal(404, 'no queue'), new Error('socket closed'), null])
      expect(timeout.learn(error, 'q')).toBeNull();
    expect(timeout.claimAfterMs('3.10.8')).toBe(900_000);
  });
});
