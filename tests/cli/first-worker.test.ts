/** The guide's own code and commands do what the guide says. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Project, type RunningCli } from './run-cli.js';

const guide = readFileSync('docs/guides/first-worker.md', 'utf8');
const blocks = [...guide.matchAll(/```(ts|sh)\n([\s\S]*?)```/g)].map(([, language, text]) => ({ language, text: text ?? '' }));
const commands = blocks
  .filter(({ language }) => language === 'sh')
  .flatMap(({ text }) => text.split('\n').filter((line) => line.startsWith('npx lovage ')));

/** A command line of the guide as arguments, and what its comment promises. */
function read(line: string): { args: string[]; prints: string | undefined } {
  const [command = '', comment] = line.split(/\s+#\s*/);
  const args = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '').slice(2);
  return { args, prints: /^prints (.*)$/.exec(comment ?? '')?.[1] };
}
const find = (start: string): { args: string[]; prints: string | undefined } =>
  read(commands.find((line) => line.startsWith(`npx lovage ${start}`)) ?? '');

const project = new Project();
let worker: RunningCli;
beforeAll(async () => {
  project.write('tasks.ts', blocks.find(({ text }) => text.startsWith('// tasks.ts'))?.text ?? '');
  worker = project.start(find('worker').args);
  await worker.until('worker ready');
});
afterAll(() => project.remove());

test('the send command prints what the guide says', async () => {
  const { args, prints } = find('send');
  expect(prints).toBe('5');
  expect(await project.run(args)).toEqual({ code: 0, stdout: `${prints}\n`, stderr: '' });
});

test('the code that sends gets the result', async () => {
  const code = blocks.find(({ text }) => text.includes("from './tasks.js'"))?.text ?? '';
  project.write('send.ts', `${code}\nimport { app } from './tasks.js';\nexport { app };\nawait app.close();\n`);
  const loaded = await project.run(['send', 'math.add', '--args', '[1,1]', '--app', './send.ts']);
  expect(loaded.stdout.split('\n')[0]).toBe('5');
});

test.each(['queues list', 'queues peek', 'result'])('%s runs', async (start) => {
  const { args } = find(start);
  expect(args.length).toBeGreaterThan(1);
  expect(await project.run(args)).toMatchObject({ code: 0 });
});
