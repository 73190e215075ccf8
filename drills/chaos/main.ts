/**
 * `npm run chaos -- [--broker b …] [--seeds N] [--tasks N] [--seed S] [--keep] [--json FILE]`: the chaos rig with one
 * seed after the other. Without `--seed` seeds are made of the commit's hash; each is printed, and `--seed` plays exactly
 * that one. With `--keep` the last run of each seed is kept and shown in `docs/drills.md`.
 * Exits 0 only when every claim held for every seed.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { printLine, printNote } from '../../src/cli/output.js';
import { BROKER_NAMES, type BrokerName } from '../harness/brokers.js';
import { commitHash, type DrillResult, runDrill } from '../harness/runner.js';
import { keepChaos, writePage } from '../results.js';
import { show } from '../show.js';
import { chaos } from './rig.js';

const { values: flags } = parseArgs({
  options: {
    broker: { type: 'string', multiple: true, default: [] },
    seeds: { type: 'string', default: '1' },
    tasks: { type: 'string', default: '2000' },
    seed: { type: 'string' },
    keep: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});

function usage(message: string): never {
  printNote(
    `${message}\nusage: npm run chaos -- [--broker ${BROKER_NAMES.join('|')}] [--seeds N] [--tasks N] [--seed S] [--keep] [--json FILE]`,
  );
  process.exit(2);
}

const seeds = Number(flags.seeds);
const tasks = Number(flags.tasks);
if (!Number.isInteger(seeds) || seeds < 1) usage('--seeds must be a whole number');
if (!Number.isInteger(tasks) || tasks < 100) usage('--tasks must be a whole number, 100 or more');
for (const broker of flags.broker) if (!BROKER_NAMES.includes(broker as BrokerName)) usage(`there is no broker ${broker}`);
const brokers = BROKER_NAMES.filter((name) => flags.broker.length === 0 || flags.broker.includes(name));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const results: DrillResult[] = [];
for (const broker of brokers) {
  for (let nth = 1; nth <= (flags.seed === undefined ? seeds : 1); nth++) {
    const seed = flags.seed ?? `${commitHash().slice(0, 12)}-${nth}`;
    printNote(`\nchaos on ${broker}, ${tasks} tasks, seed ${seed}`);
    const result = await runDrill(chaos(tasks), { broker, size: 'quick', seed, say: (text) => printNote(`  ${text}`) });
    show(result);
    results.push(result);
    if (flags.keep) keepChaos(result);
    // Written after each: a long series that is interrupted keeps what it has.
    if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(results, null, 2)}\n`);
  }
}
if (flags.keep) writePage();
const red = results.filter(({ ok }) => !ok);
printLine(`\nchaos: ${results.length - red.length} seeds green, ${red.length} red`);
for (const { broker, seed } of red) printLine(`  again: npm run chaos -- --broker ${broker} --tasks ${tasks} --seed ${seed}`);
process.exit(red.length === 0 ? 0 : 1);
