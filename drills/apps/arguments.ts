/**
 * The values of the drill simple-arguments, and the task that tells what arrived of them: each call adds a line of JSON to a file
 * outside Lovage, with the text by which Node shows the value. The drill makes the same text of what it sent.
 */
import { openSync, writeSync } from 'node:fs';
import { inspect } from 'node:util';
import { createApp, type WireValue } from 'lovage';

/** What a row of an ORM is: data, its connection, and ways to change it. */
export class User {
  readonly id = 42;
  name = 'Ada';
  save(): void {}
}

const MIB = 1_048_576;

function cycle(): unknown {
  const order: Record<string, unknown> = { id: 1 };
  order['items'] = [{ of: order }];
  return order;
}

/** What must not travel, with the code of its refusal and what stands behind the path of the value itself, if it is deeper. */
export const REFUSED: Readonly<Record<string, { readonly make: () => unknown; readonly code: string; readonly below?: string }>> =
  {
    ormInstance: { make: () => new User(), code: 'E_NOT_SERIALISABLE' },
    method: { make: () => ({ save: () => 1 }), code: 'E_NOT_SERIALISABLE', below: '.save' },
    function: { make: () => () => 1, code: 'E_NOT_SERIALISABLE' },
    map: { make: () => new Map([['a', 1]]), code: 'E_NOT_SERIALISABLE' },
    set: { make: () => new Set([1]), code: 'E_NOT_SERIALISABLE' },
    symbol: { make: () => Symbol('a'), code: 'E_NOT_SERIALISABLE' },
    error: { make: () => new Error('no'), code: 'E_NOT_SERIALISABLE' },
    forgottenAwait: { make: () => Promise.resolve(1), code: 'E_NOT_SERIALISABLE' },
    invalidDate: { make: () => new Date(Number.NaN), code: 'E_NOT_SERIALISABLE' },
    cycle: { make: cycle, code: 'E_NOT_SERIALISABLE', below: '.items[0].of' },
    blob: { make: () => new Uint8Array(5 * MIB), code: 'E_MESSAGE_TOO_LARGE' },
    longText: { make: () => 'x'.repeat(5 * MIB), code: 'E_MESSAGE_TOO_LARGE' },
  };

/** What travels and must arrive equal, by Python's name for the same value (`repr`, of Celery 5.3 and later). */
export const ALLOWED: readonly { readonly value: WireValue; readonly python: string; readonly plain: boolean }[] = [
  { value: null, python: 'None', plain: true },
  { value: true, python: 'True', plain: true },
  { value: 'Ünïcode \u{1f33f} \u0000', python: "'Ünïcode \u{1f33f} \\x00'", plain: true },
  { value: 1.5e-7, python: '1.5e-07', plain: true },
  { value: 9_007_199_254_740_991, python: '9007199254740991', plain: true },
  { value: 9_007_199_254_740_993n, python: '9007199254740993', plain: true },
  { value: -(2n ** 200n), python: String(-(2n ** 200n)), plain: true },
  { value: [], python: '[]', plain: true },
  { value: { list: [], of: { none: null } }, python: "{'list': [], 'of': {'none': None}}", plain: true },
  { value: new Uint8Array([0, 255, 65]), python: "b'\\x00\\xffA'", plain: false },
  {
    value: new Date(Date.UTC(2026, 1, 28, 23, 59, 59, 789)),
    python: 'datetime.datetime(2026, 2, 28, 23, 59, 59, 789000, tzinfo=datetime.timezone.utc)',
    plain: false,
  },
];

/** The text by which values are compared; a Buffer is bytes. */
export function shown(value: unknown): string {
  return inspect(value instanceof Uint8Array ? new Uint8Array(value) : value, { depth: null, maxStringLength: null });
}

/** The drill itself, which has no ledger in its environment, imports the values only. */
const ledger = process.env['LOVAGE_DRILL_LEDGER'];
const notes = openSync(ledger ? `${ledger}.arrived` : '/dev/null', 'a');

export const app = createApp({ name: 'arguments', defaultQueue: 'arguments' });

app.fn('arguments.take', (label: string, value: WireValue) => {
  writeSync(notes, `${JSON.stringify({ label, text: shown(value) })}\n`);
});
