/** Makes `docs/drills.md` from the results of full runs. Pure. */
import type { DrillResult } from './harness/runner.js';

const cell = (value: unknown): string => String(value).replaceAll('|', '\\|').replaceAll('\n', ' ');

function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
}

function section(drill: string, results: readonly DrillResult[]): string {
  const parts = results.map(({ broker, ok, seconds, commit, seed, claims, figures, error }) => {
    const rows = claims.map((claim) => [claim.sentence, claim.measured, claim.bound, claim.holds ? 'yes' : '**no**']);
    const shown = figures.map(({ name, value, unit }) => `${name} ${value}${unit === '' ? '' : ` ${unit}`}`);
    return [
      `### On ${broker}: ${ok ? 'every claim held' : 'RED'}`,
      table(['claim', 'measured', 'bound', 'holds'], rows),
      ...(error === null ? [] : [`The drill itself failed: \`${cell(error.split('\n')[0])}\``]),
      ...(shown.length === 0 ? [] : [`Also measured: ${shown.join('; ')}.`]),
      `${seconds} s, commit \`${commit.slice(0, 12)}\`, seed \`${seed}\`.`,
    ].join('\n\n');
  });
  return [`## ${drill}`, results[0]?.scenario ?? '', ...parts].join('\n\n');
}

export function page(results: readonly DrillResult[]): string {
  const byDrill = new Map<string, DrillResult[]>();
  for (const result of results) byDrill.set(result.drill, [...(byDrill.get(result.drill) ?? []), result]);
  const summary = [...byDrill].map(([drill, runs]) => [
    `[${drill}](#${drill})`,
    ...(['file', 'redis', 'rabbitmq'] as const).map((broker) => {
      const run = runs.find((one) => one.broker === broker);
      return run === undefined ? '' : run.ok ? `${run.claims.length} claims hold` : '**red**';
    }),
  ]);
  const [machine = ''] = results.map((result) => result.machine);
  return (
    [
      '# Drills',
      '<!-- Made by `npm run drills -- --full` from drills/results: change drills/page.ts, not this. -->',
      'Incidents that teams had with their task queues, run from end to end with real processes and real brokers. Each drill keeps a ledger of what was sent and what ran, outside Lovage, and judges by it.',
      'One by hand: `npm run drill -- kill-nine --broker redis`. All: `npm run drills`, which takes minutes, or `npm run drills -- --full --resume`, which takes an hour, can be interrupted, and writes this page. A run prints its seed; `--seed` plays it again.',
      results.length === 0
        ? 'No full run is recorded yet.'
        : `Measured on ${machine}.\n\n${table(['drill', 'file', 'Redis', 'RabbitMQ'], summary)}`,
      ...[...byDrill].map(([drill, runs]) => section(drill, runs)),
      '',
    ]
      .join('\n\n')
      .trimEnd() + '\n'
  );
}
