/**
 * Python reads what we write as the values that we meant: one Python process, hundreds of random values each way. Where no
 * Python is installed these tests leave themselves out and say so; with `CI=true` that is a failure.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toAmqpProperties } from '../../src/wire/amqp-message.js';
import { decodeJson, encodeJson } from '../../src/wire/serializers/json.js';
import { encodeTaskMessage } from '../../src/wire/task-message.js';
import { PYTHONS } from '../support/celery.js';
import { encodeTable } from './amqp-frames.js';
import { travelling } from './travelling.js';

const SCRIPT = fileURLToPath(new URL('agree.py', import.meta.url));

/** A Python process that answers one line for each line. */
class Python {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Interface;
  readonly #waiting: ((line: string) => void)[] = [];
  #errors = '';

  constructor(path: string) {
    this.#child = spawn(path, [SCRIPT], { stdio: 'pipe', env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
    this.#child.stderr.on('data', (chunk: Buffer) => (this.#errors = (this.#errors + chunk.toString()).slice(-2000)));
    this.#child.on('exit', () => {
      for (const resolve of this.#waiting.splice(0)) resolve(JSON.stringify({ error: `Python ended: ${this.#errors}` }));
    });
    this.#lines = createInterface(this.#child.stdout).on('line', (line) => this.#waiting.shift()?.(line));
  }

  async ask(ask: 'json' | 'kombu' | 'table', of: string): Promise<string> {
    const line = new Promise<string>((resolve) => this.#waiting.push(resolve));
    this.#child.stdin.write(`${JSON.stringify({ ask, of })}\n`);
    const { answer, error } = JSON.parse(await line) as { answer?: string; error?: string };
    if (answer === undefined) throw new Error(error);
    return answer;
  }

  close(): void {
    this.#lines.close();
    this.#child.kill();
  }
}

/** Leaves the tests out where this Python is missing, and says why; in CI it fails instead. */
function withPython(version: '5.2' | '5.6', title: string, body: (python: () => Python) => void): void {
  const path = PYTHONS[version];
  const there = existsSync(path);
  if (!there && process.env.CI === 'true') {
    test(title, () => {
      throw new Error(`${path} is missing: npm run setup:servers`);
    });
    return;
  }
  describe.skipIf(!there)(there ? title : `${title} (left out: ${path} is not installed; npm run setup:servers)`, () => {
    let python: Python | undefined;
    beforeAll(() => {
      python = new Python(path);
    });
    afterAll(() => python?.close());
    body(() => python as Python);
  });
}

withPython('5.2', 'Python and its AMQP client', (python) => {
  test('json.loads reads every text that encodeJson writes, and what it writes back is equal', async () => {
    await fc.assert(
      fc.asyncProperty(travelling, async (value) => {
        expect(decodeJson(await python().ask('json', encodeJson(value)))).toEqual(value);
      }),
      { numRuns: 400 },
    );
  });

  test('py-amqp reads the headers that we hand to the AMQP client', async () => {
    const numbers = fc.oneof(
      fc.constantFrom(0, 1, 127, 128, 255, 256, 300, 32_767, 32_768, 2 ** 31 - 1, 2 ** 31, 2 ** 53 - 1),
      fc.integer(),
      fc.maxSafeNat(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
    );
    const values = fc.oneof(numbers, fc.string(), fc.boolean(), fc.constant(null));
    const key = fc.string({ maxLength: 20 }).filter((name) => name !== '__proto__' && name !== '!');
    const headers = fc.dictionary(key, fc.oneof(values, fc.array(values), fc.dictionary(key, values)));
    await fc.assert(
      fc.asyncProperty(headers, numbers, async (own, limit) => {
        const made = encodeTaskMessage(
          { task: 't', id: 'i', args: [], kwargs: {}, timeLimitMs: limit, groupIndex: 300 },
          { nowMs: 0 },
        );
        const message = { ...made, headers: { ...made.headers, own } };
        const read = decodeJson(
          await python().ask('table', encodeTable(toAmqpProperties(message).properties.headers).toString('base64')),
        );
        // -0 has no integer in AMQP; integers that were doubles in JavaScript are doubles in Python as well
        expect(JSON.stringify(read)).toBe(JSON.stringify(message.headers));
      }),
      { numRuns: 300 },
    );
  });
});

withPython('5.6', 'kombu 5.6', (python) => {
  test('reads dates, bytes, UUIDs, Decimals, … as what they are: what it writes back is equal', async () => {
    await fc.assert(
      fc.asyncProperty(travelling, async (value) => {
        expect(decodeJson(await python().ask('kombu', encodeJson(value)))).toEqual(value);
      }),
      { numRuns: 400 },
    );
  });
});
