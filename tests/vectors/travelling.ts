/** Random values of every kind that may travel, for the round trips here and beside the code. */
import fc from 'fast-check';
import { WireDate, WireDecimal, WireTime, WireUuid } from '../../src/wire/typed-values.js';

const digits = fc.bigInt({ min: -(10n ** 60n), max: 10n ** 60n }).filter((value) => !Number.isSafeInteger(Number(value)));
const instants = fc.date({
  min: new Date('0001-01-01T00:00:00Z'),
  max: new Date('9999-12-31T23:59:59.999Z'),
  noInvalidDate: true,
});
const typed = fc.constantFrom(
  new WireDecimal('1.10'),
  new WireDecimal('-0E+3'),
  new WireDate('2024-02-29'),
  new WireTime('13:05:06.000789'),
);

/** Values that come back equal. Bytes are of several kinds: UTF-8 or not. */
export const travelling: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.integer(),
    digits,
    fc.boolean(),
    fc.constant(null),
    instants,
    fc.uint8Array({ maxLength: 40 }),
    fc.string().map((text) => new Uint8Array(Buffer.from(text))),
    fc.uuid().map((text) => new WireUuid(text)),
    typed,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(fc.string(), tie('value'), { maxKeys: 5 }).filter((object) => !Object.hasOwn(object, '__proto__')),
  ),
})).value;
