/** Whether a sample looks drawn evenly from a range, and how crowded its fullest moment is. Pure. */

/** Kolmogorov-Smirnov: how likely a sample as uneven as this, or more, is if it is drawn evenly from 0 to `high`. */
export function evenness(sample: readonly number[], high: number): number {
  const sorted = [...sample].sort((a, b) => a - b);
  const n = sorted.length;
  if (n === 0) return 0;
  let distance = 0;
  for (const [index, value] of sorted.entries()) {
    const expected = Math.min(Math.max(value / high, 0), 1);
    distance = Math.max(distance, Math.abs((index + 1) / n - expected), Math.abs(index / n - expected));
  }
  // The usual approximation, good from a few dozen values on.
  const lambda = (Math.sqrt(n) + 0.12 + 0.11 / Math.sqrt(n)) * distance;
  if (lambda < 0.2) return 1; // the series does not converge there
  let sum = 0;
  for (let j = 1; j <= 100; j++) sum += (j % 2 === 1 ? 2 : -2) * Math.exp(-2 * j * j * lambda * lambda);
  return Math.min(Math.max(sum, 0), 1);
}

/** The most values that lie within any stretch of this width. */
export function fullestWindow(sample: readonly number[], width: number): number {
  const sorted = [...sample].sort((a, b) => a - b);
  let most = 0;
  let first = 0;
  for (let last = 0; last < sorted.length; last++) {
    while ((sorted[last] as number) - (sorted[first] as number) >= width) first += 1;
    most = Math.max(most, last - first + 1);
  }
  return most;
}
