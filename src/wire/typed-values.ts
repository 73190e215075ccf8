/**
 * Python values that JavaScript has no type for. Decoded from kombu's typed JSON, they survive the way back unchanged:
 * `encodeJson` writes each as the object it came from (wire section 3.2). Small, frozen, without behaviour.
 */
import { ArgumentError } from '../core/errors.js';

function demand(fits: boolean, kind: string, text: string): void {
  if (!fits) throw new ArgumentError('E_ARGUMENTS', `${JSON.stringify(String(text).slice(0, 80))} is no ${kind}`);
}

/** Python's `Decimal`: the digits as text, so nothing is rounded (`1.10` stays `1.10`). */
export class WireDecimal {
  readonly text: string;
  /** @throws ArgumentError `E_ARGUMENTS` when the text is no decimal number */
  constructor(text: string) {
    demand(WireDecimal.fits(text), 'decimal number', text);
    this.text = text;
    Object.freeze(this);
  }
  /** Whether Python's `Decimal(text)` would take it. */
  static fits(text: string): boolean {
    return /^[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|Infinity|s?NaN\d*)$/.test(text);
  }
  toString(): string {
    return this.text;
  }
  toJSON(): string {
    return this.text;
  }
}

/** Python's `UUID`. Made from 32 hexadecimal digits with or without hyphens; shown with them. */
export class WireUuid {
  readonly hex: string;
  /** @throws ArgumentError `E_ARGUMENTS` when the text is no UUID */
  constructor(text: string) {
    demand(WireUuid.fits(text), 'UUID', text);
    this.hex = text.replaceAll('-', '').toLowerCase();
    Object.freeze(this);
  }
  /** Whether the text holds the 32 digits of a UUID. */
  static fits(text: string): boolean {
    return /^[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}$/.test(text);
  }
  toString(): string {
    const hex = this.hex;
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }
  toJSON(): string {
    return this.toString();
  }
}

/** Python's `date`: a day without time, `2024-02-29`. */
export class WireDate {
  readonly text: string;
  /** @throws ArgumentError `E_ARGUMENTS` when the text is not `YYYY-MM-DD` */
  constructor(text: string) {
    demand(WireDate.fits(text), 'date like 2024-02-29', text);
    this.text = text;
    Object.freeze(this);
  }
  /** Whether the text has the form `YYYY-MM-DD`. */
  static fits(text: string): boolean {
    return /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$/.test(text);
  }
  toString(): string {
    return this.text;
  }
  toJSON(): string {
    return this.text;
  }
}

/** Python's `time`: a time of day without date, `13:05:06.000789`, perhaps with an offset. */
export class WireTime {
  readonly text: string;
  /** @throws ArgumentError `E_ARGUMENTS` when the text is not `HH:MM[:SS[.ffffff]]` with an optional offset */
  constructor(text: string) {
    demand(WireTime.fits(text), 'time of day like 13:05:06', text);
    this.text = text;
    Object.freeze(this);
  }
  /** Whether the text has the form that Python's `time.fromisoformat` reads. */
  static fits(text: string): boolean {
    return /^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?$/.test(text);
  }
  toString(): string {
    return this.text;
  }
  toJSON(): string {
    return this.text;
  }
}
