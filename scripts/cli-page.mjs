// @ts-check
/**
 * Writes docs/reference/cli.md from the commands themselves: `npm run build && node scripts/cli-page.mjs`.
 * `tests/cli/reference.test.ts` tells when the page is out of date. Reads the built command, so it needs a build.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ROOT } from './environment.mjs';

/** @typedef {import('commander').Command} Command */

/** @param {string} text */
const cell = (text) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');

/**
 * @param {Command} command
 * @param {string} path
 * @returns {string}
 */
function section(command, path) {
  const shown = command.commands.filter((sub) => sub.name() !== 'help');
  if (shown.length > 0) return shown.map((sub) => section(sub, `${path} ${sub.name()}`)).join('\n');
  const positions = command.registeredArguments.map((argument) => {
    const name = argument.variadic ? `${argument.name()}...` : argument.name();
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  const options = command.options.filter((option) => !option.hidden);
  const rows = options.map((option) => {
    const extra = [
      option.argChoices ? `one of ${option.argChoices.map((choice) => `\`${choice}\``).join(', ')}` : '',
      option.defaultValue === undefined ? '' : `default \`${option.defaultValue}\``,
      option.envVar ? `environment \`${option.envVar}\`` : '',
    ].filter(Boolean);
    return `| \`${option.flags}\` | ${cell(option.description)}${extra.length > 0 ? ` (${extra.join('; ')})` : ''} |`;
  });
  const described = command.registeredArguments.filter(({ description }) => description);
  return `## ${path}

${command.description()}

\`\`\`
${[path, ...positions, options.length > 0 ? '[options]' : ''].filter(Boolean).join(' ')}
\`\`\`
${described.length > 0 ? `\n${described.map((argument) => `- \`${argument.name()}\`: ${argument.description}`).join('\n')}\n` : ''}${
  rows.length > 0 ? `\n| option | what it does |\n|---|---|\n${rows.join('\n')}\n` : ''
}${helpAfter(command)}`;
}

/**
 * What `--help` says after the options: remarks and examples.
 * @param {Command} command
 */
function helpAfter(command) {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
  const [, after = ''] = text.split(/^ {2}-h, --help.*$/m);
  return after.trim() === '' ? '' : `\n\`\`\`\n${after.trim()}\n\`\`\`\n`;
}

/**
 * The page as text.
 * @param {Command} program with every command loaded
 * @param {Readonly<Record<string, string>>} exitCodes
 */
export function cliPage(program, exitCodes) {
  const commands = program.commands.filter((command) => command.name() !== 'help');
  return `# Command line

<!-- Made by scripts/cli-page.mjs from the commands in src/cli: change it there. -->

Answers go to standard output, everything else (logs, errors, progress) to standard error. \`--json\` prints one JSON
document for machines, and errors as one line of JSON. \`lovage help COMMAND\` shows what stands here.

Which broker: the flag \`--broker\`, else \`broker\` in \`lovage.config.ts\`, else what the app file says, else
\`LOVAGE_BROKER_URL\`, else \`file:./.lovage/queue.db\`. Results likewise, and in the end what fits the broker.
\`lovage.config.ts\` (\`.mts\`, \`.js\`, \`.mjs\`) in the current folder exports \`config\` with any of \`app\`, \`broker\`, \`results\`.

## Exit codes

| code | meaning |
|---|---|
${Object.entries(exitCodes)
  .map(([code, meaning]) => `| ${code} | ${meaning} |`)
  .join('\n')}

${commands.map((command) => section(command, `lovage ${command.name()}`)).join('\n')}`;
}

/** The page of the built command. */
export async function builtCliPage() {
  const dist = pathToFileURL(join(ROOT, 'dist/cli/')).href;
  const [{ createProgram }, { EXIT_CODES }] = await Promise.all([import(`${dist}program.js`), import(`${dist}exit-codes.js`)]);
  return cliPage(await createProgram('*'), EXIT_CODES);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(join(ROOT, 'docs/reference/cli.md'), await builtCliPage());
