import { describe, expect, test } from 'vitest';
import type { Delivery } from '../../brokers/broker.js';
import type { WireMessage } from '../../wire/message.js';
import { EPOCH_HEADER, LOSSES_HEADER, RESENT_HEADER, SUSPECT_HEADER, UNKNOWN_SINCE_HEADER } from '../../wire/own-headers.js';
import { encodeTaskMessage } from '../../wire/task-message.js';
import type { TaskFacts } from '../port.js';
import { type AdmissionContext, admit, withHeader } from './admission.js';

const NOW = Date.UTC(2026, 10, 21);
const FACTS: TaskFacts = {
  name: 'known',
  ack: 'late',
  ignoreResult: false,
  resultTtlMs: null,
  trackStarted: false,
  endlessRetry: false,
  softTimeLimitMs: null,
  timeLimitMs: null,
  rateLimit: null,
};
const context: AdmissionContext = {
  ...{ nowMs: NOW, facts: new Map([['known', FACTS]]), unknownTaskPatienceMs: 600_000, random: 0.5 },
  isRevoked: () => false,
  pausedUntilMs: () => null,
};

function message(call: Partial<Parameters<typeof encodeTaskMessage>[0]> = {}): WireMessage {
  return encodeTaskMessage({ task: 'known', id: 'a', args: [1], kwargs: {}, ...call }, { nowMs: NOW });
}

function delivery(of: WireMessage, more: Partial<Delivery> = {}): Delivery {
  return { kind: 'delivery', tag: 't', queue: 'q', message: of, redelivered: false, losses: 0, ...more };
}

describe('admission', () => {
  test('a known task runs, and its result store is not asked', () => {
    expect(admit(delivery(message()), context)).toMatchObject({ kind: 'run', claim: false, facts: FACTS });
  });

  test('a paused task waits, also one that nobody here knows, and its time to come and its end count first', () => {
    const pausing = { ...context, pausedUntilMs: (task: string) => (task === 'other' ? null : NOW + 20_000) };
    expect(admit(delivery(message()), pausing)).toMatchObject({ kind: 'defer', untilMs: NOW + 20_000 });
    expect(admit(delivery(message({ task: 'nobody' })), pausing)).toMatchObject({ kind: 'defer', untilMs: NOW + 20_000 });
    expect(admit(delivery(message({ eta: new Date(NOW + 60_000) })), pausing)).toMatchObject({
      kind: 'defer',
      untilMs: NOW + 60_000,
    });
    expect(admit(delivery(message({ expires: new Date(NOW - 1_000) })), pausing)).toMatchObject({ kind: 'expired' });
    expect(admit(delivery(message({ task: 'other' })), pausing)).toMatchObject({ kind: 'unknown' });
  });

  test.each([
    ['a redelivered one', delivery(message(), { redelivered: true })],
    ['one whose worker died', delivery(message(), { losses: 1 })],
    ['one sent again under its id', delivery(withHeader(message(), RESENT_HEADER, true))],
  ])('%s is claimed first', (_, given) => {
    expect(admit(given, context)).toMatchObject({ kind: 'run', claim: true });
  });

  test('an expired task is ended, also when its eta lies ahead', () => {
    const given = message({ expires: new Date(NOW - 1), eta: new Date(NOW + 60_000) });
    expect(admit(delivery(given), context)).toMatchObject({ kind: 'expired' });
  });

  test('a revoked task is ended at once, whatever its eta, and known here or not; an expired one has expired', () => {
    const revoking = { ...context, isRevoked: ({ id }: { readonly id: string }) => id === 'a' };
    expect(admit(delivery(message({ eta: new Date(NOW + 60_000) })), revoking)).toMatchObject({ kind: 'revoked' });
    expect(admit(delivery(message({ task: 'unknown' })), revoking)).toMatchObject({ kind: 'revoked' });
    expect(admit(delivery(message({ expires: new Date(NOW - 1) })), revoking)).toMatchObject({ kind: 'expired' });
    expect(admit(delivery(message({ id: 'b' })), revoking)).toMatchObject({ kind: 'run' });
  });

  test('a task whose time has not come goes to the delay store', () => {
    expect(admit(delivery(message({ eta: new Date(NOW + 60_000) })), context)).toMatchObject({
      kind: 'defer',
      untilMs: NOW + 60_000,
    });
  });

  test('an unknown task is put back, each time for longer, and the first meeting is remembered', () => {
    const unknown = message({ task: 'unknown' });
    const first = admit(delivery(unknown), context);
    expect(first).toMatchObject({ kind: 'unknown', untilMs: NOW + 750, message: { headers: { [UNKNOWN_SINCE_HEADER]: NOW } } });
    const later = admit(delivery(withHeader(unknown, UNKNOWN_SINCE_HEADER, NOW - 20_000)), context);
    expect(later).toMatchObject({
      kind: 'unknown',
      untilMs: NOW + 15_000,
      message: { headers: { [UNKNOWN_SINCE_HEADER]: NOW - 20_000 } },
    });
  });

  test('an unknown task is parked once patience is over', () => {
    const given = withHeader(message({ task: 'unknown' }), UNKNOWN_SINCE_HEADER, NOW - 600_000);
    expect(admit(delivery(given), context)).toMatchObject({ kind: 'park', code: 'E_NOT_REGISTERED' });
  });

  test.each([
    [0, false],
    [1, false],
    [2, true],
  ])('after %i losses it is %s that a task runs alone', (losses, alone) => {
    expect(admit(delivery(message(), { losses }), context)).toMatchObject({ kind: 'run', alone });
    expect(admit(delivery(withHeader(message(), LOSSES_HEADER, losses)), context)).toMatchObject({ kind: 'run', alone });
  });

  test('a task that may have kept its executor from answering runs alone', () => {
    expect(admit(delivery(withHeader(message(), SUSPECT_HEADER, true)), context)).toMatchObject({ kind: 'run', alone: true });
  });

  test('a task that three workers died of is parked, wherever the losses were counted', () => {
    expect(admit(delivery(message(), { losses: 3 }), context)).toMatchObject({ kind: 'park', code: 'E_WORKER_LOST' });
    expect(admit(delivery(withHeader(message(), LOSSES_HEADER, 2), { losses: 1 }), context)).toMatchObject({
      kind: 'park',
      code: 'E_WORKER_LOST',
      reason: expect.stringMatching(/^3 times .*: 1 with their worker.*, 2 in a living worker/),
    });
  });

  test.each([
    ['no id', { task: 'known' }],
    ['an eta that is no time', { task: 'known', id: 'a', eta: 'soon' }],
    ['a task that is no text', { task: 7, id: 'a' }],
  ])('%s is parked as undecodable', (_, headers) => {
    expect(admit(delivery({ ...message(), headers }), context)).toMatchObject({ kind: 'park', code: 'E_DECODE', headers: null });
  });

  test('protocol 1 is read', () => {
    const body = {
      encoding: 'utf8',
      data: JSON.stringify({ task: 'known', id: 'old', args: [1], kwargs: {}, retries: 2 }),
    } as const;
    const verdict = admit(delivery({ ...message(), headers: {}, body }), context);
    expect(verdict).toMatchObject({ kind: 'run', headers: { id: 'old', retries: 2 }, message: { headers: { task: 'known' } } });
  });

  test('a body of neither protocol is parked', () => {
    expect(admit(delivery({ ...message(), headers: {} }), context)).toMatchObject({ kind: 'park', code: 'E_DECODE' });
  });
});

test('the next try of a claimed task goes on under its epoch, without another claim', () => {
  expect(admit(delivery(withHeader(message(), EPOCH_HEADER, 3)), context)).toMatchObject({ kind: 'run', claim: false, epoch: 3 });
  expect(admit(delivery(withHeader(message(), EPOCH_HEADER, 'x')), context)).toMatchObject({ epoch: 0 });
});

describe('what a stranger may send', () => {
  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, 0.5, '7', null, {}])(
    'forged marks of our own (%j) count for nothing',
    (value) => {
      const forged = withHeader(withHeader(message(), LOSSES_HEADER, value), EPOCH_HEADER, value);
      expect(admit(delivery(forged), context)).toMatchObject({ kind: 'run', alone: false, epoch: 0, claim: false });
    },
  );

  test.each([Number.NaN, NOW + 1e12, -1, 'x'])(
    'an unknown task that claims to have been met at %j waits no longer than others',
    (since) => {
      const verdict = admit(delivery(withHeader(message({ task: 'unknown' }), UNKNOWN_SINCE_HEADER, since)), context);
      expect(verdict).toMatchObject({
        kind: 'unknown',
        untilMs: NOW + 750,
        message: { headers: { [UNKNOWN_SINCE_HEADER]: NOW } },
      });
    },
  );

  test('what is no task is parked with the code of its fault', () => {
    const pickled = { ...message(), contentType: 'application/x-python-serialize', headers: {} };
    expect(admit(delivery(pickled), context)).toMatchObject({ kind: 'park', headers: null, code: 'E_CONTENT_REFUSED' });
    const corrupt = { ...message(), headers: { compression: 'application/x-gzip' } };
    expect(admit(delivery(corrupt), context)).toMatchObject({ kind: 'park', headers: null, code: 'E_COMPRESSION' });
  });
});
