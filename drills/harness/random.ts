/** Random numbers that a seed repeats: what the drills and the chaos rig do, and when, comes from here and nowhere else. */

export interface Random {
  /** At least 0, below 1. */
  next(): number;
  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number;
  pick<T>(list: readonly T[]): T;
  /** Another stream of the same seed, so that one part's draws do not shift another's. */
  fork(name: string): Random;
}

/** FNV-1a over the text: any text is a seed. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value >>> 0;
}

export function seeded(seed: string): Random {
  let state = hash(seed);
  // mulberry32: small, even enough for choosing moments and victims.
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    next,
    between: (low, high) => low + Math.floor(next() * (high - low + 1)),
    pick: (list) => list[Math.floor(next() * list.length)] as never,
    fork: (name) => seeded(`${seed}/${name}`),
  };
}
