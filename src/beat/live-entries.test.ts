/** Entries of a leader where nobody can tell how runs end: with results that only their senders read. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { resolveConfig } from '../app/config.js';
import { canvasFactsOf } from '../app/workflows/canvas-facts.js';
import { silentLogger } from '../core/logger.js';
import { chord, createApp, group } from '../index.js';
import { openResultStore } from '../results/from-url.js';
import type { ResultStore } from '../results/result-store.js';
import type { WireSignature } from '../wire/signature.js';
import { encodeDefinition } from './definition.js';
import { LiveEntries, type Work } from './live-entries.js';

const NOW = Date.UTC(2026, 5, 1, 12);
const BROKER = 'amqp://127.0.0.1:1';
const config = resolveConfig({ broker: BROKER, logger: silentLogger });
const app = createApp({ broker: BROKER, logger: silentLogger });
const add = app.fn('add', (x: number, y: number) => x + y);
const sum = app.fn('sum', (all: number[]) => all.length);

// opened and never connected: nothing here may ask it
let results: ResultStore;
beforeEach(async () => {
  results = await openResultStore({ url: `rpc:${BROKER}`, logger: silentLogger, role: 'client' });
});
afterEach(() => results.close());

function dueOf(signature: WireSignature): Work | undefined {
  const live = new LiveEntries({
    ...{ results, logger: silentLogger, nowMs: () => NOW, resultTtlMs: null, isRepeated: true, hearsEnds: false },
    ...{ facts: () => canvasFactsOf(config, app.registry), onEnd: () => {} },
  });
  const options = { every: '1m' } as const;
  const definition = encodeDefinition({ source: 'code', options, signature, sinceMs: NOW - 1 }, 'e');
  live.take({ id: 'e', revision: 1, paused: false, definition, seq: 0, state: null });
  return live.due(NOW, 10).work[0];
}

test('a run is noted as sent, and nobody waits for its end', () => {
  const work = dueOf(add.si(1, 2).toJSON());
  expect(work?.plans).toMatchObject([{ isTold: false, messages: [expect.anything()] }]);
  expect(work?.state.runs).toMatchObject([{ slotMs: NOW, state: 'SENT' }]);
});

test('a chord is refused by itself: its slot is over, and other entries go on', () => {
  const work = dueOf(chord(group([add.si(1, 2), add.si(3, 4)]), sum.s()).toJSON());
  expect(work?.plans).toEqual([]);
  expect(work?.state).toMatchObject({
    cursorMs: NOW,
    sent: 1,
    runs: [{ state: 'REFUSED', error: expect.stringContaining('rpc:') }],
  });
});
