/** Shows a result to people: a table of claims, and the figures. */
import { formatTable, printLine } from '../src/cli/output.js';
import type { DrillResult } from './harness/runner.js';

export function show(result: DrillResult): void {
  const rows = result.claims.map(({ sentence, measured, bound, holds }) => [
    sentence,
    String(measured),
    bound,
    holds ? 'holds' : 'BROKEN',
  ]);
  printLine(`\n${formatTable(['CLAIM', 'MEASURED', 'BOUND', ''], rows, [1, 2])}`);
  for (const { name, value, unit } of result.figures)
    printLine(`  ${name}: ${typeof value === 'number' ? Math.round(value * 100) / 100 : value} ${unit}`);
  if (result.error !== null) printLine(`  the drill itself failed: ${result.error}`);
  printLine(`${result.drill} on ${result.broker}: ${result.ok ? 'green' : 'RED'} in ${result.seconds} s, seed ${result.seed}`);
}
