/** Chains and chords on the brokers that need no server; the cases are in chain-cases.ts and chord-cases.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CanvasBroker, chainSuite } from './chain-cases.js';
import { chordSuite } from './chord-cases.js';

const memory = (name: string) => async (): Promise<CanvasBroker> => ({
  ...{ brokerUrl: `memory:${name}`, resultUrl: `memory:${name}`, close: async () => {} },
});

async function file(): Promise<CanvasBroker> {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-canvas-'));
  const url = `file:${join(folder, 'queue.db')}`;
  return { brokerUrl: url, resultUrl: url, close: async () => rmSync(folder, { recursive: true, force: true }) };
}

chainSuite('memory', memory('chains'));
chordSuite('memory', memory('chords'));
chainSuite('file', file);
chordSuite('file', file);
