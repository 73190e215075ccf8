/**
 * AMQP topic patterns, for drivers whose broker does not match them itself: words between dots, `*` is exactly one
 * word, `#` any number of them, none included.
 */

/** Makes a test for routing keys. */
export function topicMatcher(pattern: string): (routingKey: string) => boolean {
  if (pattern === '#') return () => true;
  if (!pattern.includes('*') && !pattern.includes('#')) return (routingKey) => routingKey === pattern;
  const words = pattern.split('.');
  return (routingKey) => matches(words, routingKey === '' ? [] : routingKey.split('.'));
}

/**
 * Keeps the pattern positions that the words so far can have reached; linear in words times pattern, where
 * backtracking would be exponential in the number of `#`.
 */
function matches(pattern: readonly string[], words: readonly string[]): boolean {
  let reached = withSkippedHashes(pattern, new Set([0]));
  for (const word of words) {
    const next = new Set<number>();
    for (const position of reached) {
      const part = pattern[position];
      if (part === '#') next.add(position);
      else if (part === '*' || part === word) next.add(position + 1);
    }
    if (next.size === 0) return false;
    reached = withSkippedHashes(pattern, next);
  }
  return reached.has(pattern.length);
}

/** A `#` may stand for nothing: whoever is before it may also be behind it. A Set being iterated visits what is added. */
function withSkippedHashes(pattern: readonly string[], positions: Set<number>): Set<number> {
  for (const position of positions) if (pattern[position] === '#') positions.add(position + 1);
  return positions;
}
