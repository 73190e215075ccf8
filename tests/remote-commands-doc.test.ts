/** Holds the page of remote commands and the table of them to each other, both ways. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { COMMANDS } from '../src/control/commands/table.js';

const page = readFileSync(new URL('../docs/reference/remote-commands.md', import.meta.url), 'utf8');
/** First and second cells of all rows. */
const rows = [...page.matchAll(/^\| (`[^|]*) \|([^|]*)\|/gm)].map(([, names = '', args = '']) => ({
  names: [...names.matchAll(/`([a-z_]+)`/g)].map(([, name = '']) => name),
  args: [...args.matchAll(/`([a-z_]+)`/g)].map(([, name = '']) => name),
}));

test('every command is on the page under all its names, and every row is a command', () => {
  expect(rows.flatMap(({ names }) => names).toSorted()).toEqual([...COMMANDS.keys()].toSorted());
});

test('each row names the arguments that the command takes', () => {
  const documented = Object.fromEntries(rows.flatMap(({ names, args }) => names.map((name) => [name, args.toSorted()])));
  const taken = [...COMMANDS].map(([name, { parameters = [] }]) => [
    name,
    parameters.map((parameter) => parameter.replace('?', '')).toSorted(),
  ]);
  // `registered` takes Celery's flag for its built-in tasks, of which there are none here
  const expected = Object.fromEntries(taken) as Record<string, string[]>;
  for (const name of ['registered', 'dump_tasks']) expected[name] = (expected[name] ?? []).filter((one) => one !== 'builtins');
  expect(documented).toEqual(expected);
});
