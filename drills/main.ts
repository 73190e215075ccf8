/**
 * `npm run drill -- NAME … [--quick|--full] [--broker b] [--seed s] [--json FILE]` runs drills;
 * `npm run drills -- [--quick|--full] [--resume]` runs all of them. With `--full` both keep the results and write
 * `docs/drills.md`. Exits 0 only when every claim of every drill held.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { printLine, printNote } from '../src/cli/output.js';
import { BROKER_NAMES, type BrokerName } from './harness/brokers.js';
import { commitHash, type Drill, type DrillResult, runDrill } from './harness/runner.js';
import { keepResult, keptResult, resultFolder, writePage } from './results.js';
import { show } from './show.js';
import { DRILLS } from './table.js';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
    resume: { type: 'boolean', default: false },
    broker: { type: 'string', multiple: true, default: [] },
    seed: { type: 'string' },
    json: { type: 'string' },
  },
});

function usage(message: string): never {
  printNote(
    `${message}\nusage: npm run drill -- NAME … [--quick|--full] [--broker ${BROKER_NAMES.join('|')}] [--seed s] [--json FILE]`,
  );
  printNote(`drills: ${Object.keys(DRILLS).join(', ')}`);
  process.exit(2);
}

if (flags.quick && flags.full) usage('--quick and --full exclude each other');
const names = flags.all ? Object.keys(DRILLS) : positionals;
if (names.length === 0) usage('which drill?');
for (const name of names) if (!Object.hasOwn(DRILLS, name)) usage(`there is no drill ${name}`);
for (const broker of flags.broker) if (!BROKER_NAMES.includes(broker as BrokerName)) usage(`there is no broker ${broker}`);

const size = flags.full ? 'full' : 'quick';
const commit = commitHash();
const seed = flags.seed ?? commit.slice(0, 12);
const folder = resultFolder(size);

async function brokersOf(drill: Drill): Promise<readonly BrokerName[]> {
  return drill.brokers.filter((broker) => flags.broker.length === 0 || flags.broker.includes(broker));
}

/** Ends what the drill has started: its helpers are tied to the end of this process. */
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

const results: DrillResult[] = [];
for (const name of names) {
  const { drill } = await (DRILLS[name] as (typeof DRILLS)[string])();
  for (const broker of await brokersOf(drill)) {
    const kept = flags.resume ? keptResult(folder, name, broker) : null;
    if (kept?.ok && kept.commit === commit && kept.size === size) {
      printNote(`${name} on ${broker}: green already on this commit`);
      results.push(kept);
      continue;
    }
    printNote(`\n${name} on ${broker}, ${size}, seed ${seed}`);
    const result = await runDrill(drill, { broker, size, seed, say: (text) => printNote(`  ${text}`) });
    show(result);
    results.push(result);
    if (flags.all || flags.full) keepResult(folder, result);
  }
}
if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(results, null, 2)}\n`);
if (flags.full) writePage();
const red = results.filter(({ ok }) => !ok);
printLine(
  `\ndrills: ${results.length - red.length} green, ${red.length} red${red.length > 0 ? ` (${red.map(({ drill, broker }) => `${drill} on ${broker}`).join(', ')})` : ''}`,
);
process.exit(results.length > 0 && red.length === 0 ? 0 : 1);
