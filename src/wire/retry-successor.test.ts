import { describe, expect, test } from 'vitest';
import type { WireMessage } from './message.js';
import { retrySuccessor } from './retry-successor.js';
import { encodeTaskMessage, type TaskCall } from './task-message.js';

const CALL: TaskCall = { task: 'math.add', id: 'id-1', args: [1, 2], kwargs: {} };
const NOW = Date.UTC(2026, 10, 21);
const encode = (call: Partial<TaskCall> = {}, options = {}): WireMessage =>
  encodeTaskMessage({ ...CALL, ...call }, { nowMs: NOW, ...options });
const withHeaders = (headers: Record<string, unknown>): WireMessage => ({
  ...encode(),
  headers: { ...encode().headers, ...headers },
});

describe('retrySuccessor', () => {
  test('counts the try, sets the new eta, names the task as its own parent and leaves the body alone', () => {
    const message = encode({ headers: { tenant: 'acme' }, expires: new Date(NOW + 60_000) });
    const next = retrySuccessor(message, { nowMs: NOW + 10_000, etaMs: NOW + 30_000 });
    expect(next.headers).toEqual({ ...message.headers, retries: 1, eta: '2026-11-21T00:00:30+00:00', parent_id: 'id-1' });
    expect(next.properties).toEqual({ ...message.properties, expiration: '50000' });
    expect(next.body).toBe(message.body);
    const third = retrySuccessor({ ...next, headers: { ...next.headers, parent_id: 'p' } }, { nowMs: NOW + 70_000, etaMs: null });
    expect(third.headers).toMatchObject({ retries: 2, eta: null, parent_id: 'p' });
    expect(third.properties.expiration).toBe('0');
  });

  test('takes off the marks of the delivery', () => {
    const message = withHeaders({ redelivered: true, 'x-death': [{}], 'x-last-death-queue': 'q', 'x-mine': 1, retries: '3' });
    const { headers } = retrySuccessor(
      { ...message, properties: { ...message.properties, expiration: '5' } },
      { nowMs: NOW, etaMs: null },
    );
    expect(Object.keys(headers).filter((name) => name.startsWith('x-') || name === 'redelivered')).toEqual(['x-mine']);
    expect(headers.retries).toBe(4);
  });

  test('an expiration without an expires header does not travel on', () => {
    const message = { ...encode(), properties: { ...encode().properties, expiration: '5' } };
    expect(retrySuccessor(message, { nowMs: NOW, etaMs: null }).properties).not.toHaveProperty('expiration');
  });
});
