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

/** A line a seed: what the faults were, and how the ledger ended. */
function chaosSection(seeds: readonly DrillResult[]): string[] {
  if (seeds.length === 0) return [];
  const rows = seeds.map(({ broker, seed, ok, commit, claims, figures }) => {
    const figure = (name: string): number | string => figures.find((one) => one.name === name)?.value ?? '';
    const faults = [...String(figure('faults')).matchAll(/(\d+) /g)].reduce((sum, [, times]) => sum + Number(times), 0);
    const red = claims.filter(({ holds }) => !holds).map(({ sentence, measured }) => `${sentence}: ${measured}`);
    const lost = claims.find(({ sentence }) => sentence.endsWith('tasks lost'))?.measured ?? '?';
    return [
      ...[broker, `\`${seed}\``, figure('tasks'), faults, lost, figure('parked'), figure('repeated runs, each explained')],
      ...[
        figure('duration'),
        `\`${commit.slice(0, 8)}\``,
        ok ? 'green' : `**red**: ${red.join('; ') || 'the rig itself failed'}`,
      ],
    ];
  });
  const head = ['broker', 'seed', 'tasks', 'faults', 'lost', 'parked', 'repeated, explained', 'seconds', 'commit', 'verdict'];
  const green = seeds.filter(({ ok }) => ok).length;
  const scenario =
    'Three workers, and faults drawn from a seed, about one a second, until all tasks were sent: workers killed, stopped and deployed, networks that reset, refuse, swallow, stall, crawl and cut, the broker killed and paused. Then everything is healed, and what was sent must have been executed, parked or expired, each repeated run explained by a fault that is on record.';
  const again = 'Any of them again: `npm run chaos -- --broker BROKER --tasks 20000 --seed SEED`.';
  return ['## chaos', `${scenario} ${again}`, `${green} seeds green, ${seeds.length - green} red.`, table(head, rows)];
}

export function page(results: readonly DrillResult[], chaos: readonly DrillResult[]): string {
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
      ...chaosSection(chaos),
      '',
    ]
      .join('\n\n')
      .trimEnd() + '\n'
  );
}
