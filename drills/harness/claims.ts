/** A claim: one sentence, what was measured, and the bound that it must keep. A drill is green only when every claim holds. Pure. */

export type Measured = number | string | boolean;

export type Bound =
  | { readonly atMost: number }
  | { readonly atLeast: number }
  | { readonly above: number }
  | { readonly equals: Measured };

export interface Claim {
  readonly sentence: string;
  readonly measured: Measured | null;
  readonly bound: string;
  readonly holds: boolean;
}

/** Compares; what was not measured (`null`) or is no number where one is needed never holds. */
export function claim(sentence: string, measured: Measured | null, bound: Bound, unit = ''): Claim {
  const tail = unit === '' ? '' : ` ${unit}`;
  const number = typeof measured === 'number' && Number.isFinite(measured) ? measured : null;
  const made = (text: string, holds: boolean): Claim => ({
    sentence,
    measured: number === null ? measured : Math.round(number * 1_000) / 1_000,
    bound: text + tail,
    holds,
  });
  if ('atMost' in bound) return made(`<= ${bound.atMost}`, number !== null && number <= bound.atMost);
  if ('atLeast' in bound) return made(`>= ${bound.atLeast}`, number !== null && number >= bound.atLeast);
  if ('above' in bound) return made(`> ${bound.above}`, number !== null && number > bound.above);
  return made(`= ${bound.equals}`, measured === bound.equals);
}
