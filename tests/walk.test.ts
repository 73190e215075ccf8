/** Holds the walk: a reader goes from `task.send()` to the stored result in eight files, each naming the next one. */
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

const STOPS = [
  'app/task.ts',
  'app/publish.ts',
  'wire/task-message.ts',
  'brokers/broker.ts',
  'worker/engine/consumer.ts',
  'worker/executor/execute.ts',
  'worker/engine/settle.ts',
  'results/result-store.ts',
] as const;

/** What a message touches in a driver: the files on its way. */
const DRIVERS = {
  memory: [
    ...['index', 'consumer', 'queue', 'space'].map((file) => `brokers/memory/${file}.ts`),
    // a message that says more than most: parked, or sent under a key
    ...['dead-letters', 'send-keys'].map((file) => `brokers/memory/${file}.ts`),
    ...['index', 'space'].map((file) => `results/memory/${file}.ts`),
  ],
  redis: [
    'brokers/redis/publish.ts',
    'brokers/redis/consume.ts',
    'brokers/redis/settle.ts',
    'brokers/redis/scripts/pop.ts',
    'brokers/redis/scripts/ack.ts',
    'results/redis/index.ts',
  ],
} as const;

/** Lines of code that one sitting can read: the eight stops, one broker driver and one result-store driver. */
const LONGEST_WALK = 2_700;

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const headerOf = (file: string): string => /\/\*\*[\s\S]*?\*\//.exec(read(`src/${file}`))?.[0].replace(/\n \*/g, '') ?? '';

/** Lines that are neither blank nor comment. */
function codeLines(file: string): number {
  const code = read(file).replace(/\/\*[\s\S]*?\*\//g, '');
  return code.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('//')).length;
}

describe('the eight-stop walk', () => {
  test.each(STOPS.map((file, index) => [index + 1, file] as const))('stop %i is src/%s, and its header says so', (stop, file) => {
    expect(headerOf(file)).toContain(`Stop ${stop} of the walk`);
  });

  test.each(STOPS.slice(0, -1).map((file, index) => [file, STOPS[index + 1] ?? ''] as const))(
    'src/%s names src/%s as the next stop',
    (file, next) => {
      // A neighbour in the same folder may be named without it.
      const names = dirname(next) === dirname(file) ? [next, basename(next)] : [next];
      const said = headerOf(file).split('Next stop:')[1] ?? '';
      expect(names.some((name) => said.includes(`\`${name}\``))).toBe(true);
    },
  );

  test('ARCHITECTURE.md lists the stops in this order', () => {
    const page = read('ARCHITECTURE.md');
    const places = STOPS.map((file) => page.indexOf(`src/${file}`));
    expect(places.every((place) => place > 0)).toBe(true);
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });

  test.each(Object.entries(DRIVERS))('the stops and the %s drivers can be read in one sitting', (_driver, paths) => {
    const lines = [...STOPS, ...paths].reduce((sum, path) => sum + codeLines(`src/${path}`), 0);
    expect(lines).toBeLessThanOrEqual(LONGEST_WALK);
  });
});
