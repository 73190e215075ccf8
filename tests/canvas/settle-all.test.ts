/** Chords that settle all, on the brokers that need no server; the cases are in settle-all-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chain, chord, createApp, group } from 'lovage';
import { expect, test } from 'vitest';
import { settleAllSuite } from './settle-all-cases.js';

settleAllSuite('memory', async () => ({ brokerUrl: 'memory:settling', resultUrl: 'memory:settling', close: async () => {} }));
settleAllSuite('file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-settling-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
});

test('what is no way to settle is refused', () => {
  const app = createApp({ broker: 'memory:settle-options' });
  const add = app.fn('add', (x: number, y: number) => x + y);
  const sum = app.fn('sum', (numbers: number[]) => numbers.length);
  // @ts-expect-error the body takes numbers, and would get outcomes
  expect(chord(group([add.si(1, 1)]), sum.s(), { settle: 'all' })).toBeDefined();
  const wrong = (options: object): unknown => chord(group([add.si(1, 1)]), add.si(1, 1), options as never);
  expect(() => wrong({ settle: 'some' })).toThrow(/'all' is the only choice/);
  expect(() => wrong({ settles: 'all' })).toThrow(expect.objectContaining({ code: 'E_CONFIG_UNKNOWN_KEY' }));
});

test('who waits for a workflow whose last task keeps no result is told at once', async () => {
  const app = createApp({ broker: 'memory:unkept' });
  const add = app.fn('add', (x: number, y: number) => x + y);
  const note = app.fn('note', (_x: unknown): null => null, { ignoreResult: true });
  const unkept = expect.objectContaining({ code: 'E_RESULT_NOT_KEPT' });
  const LONG = { timeout: '1h' } as const;
  const last = await chain(add.si(1, 1), note.s()).send();
  await expect(last.result(LONG)).rejects.toThrow(unkept);
  const body = await chord(group([add.si(1, 1)]), add.with({ ignoreResult: true }).si(1, 1)).send();
  await expect(body.result(LONG)).rejects.toThrow(unkept);
  const both = await group(note.si(1), add.si(1, 1)).send();
  await expect(both.children[0].result(LONG)).rejects.toThrow(unkept);
  await expect(both.result(LONG)).rejects.toThrow(unkept);
  await app.close();
});
