/** `lovage completion bash|zsh|fish`: a static script made from the program itself, so that Tab starts no Node. */
import { Argument, type Command } from 'commander';
import { printLine } from '../output.js';

interface Words {
  /** `''` for the top, `send`, `queues list`, … */
  readonly path: string;
  readonly commands: readonly Command[];
  readonly options: readonly { readonly flag: string; readonly about: string }[];
}

function wordsOf(command: Command, path: string): Words[] {
  const shown = command.commands.filter((sub) => sub.name() !== 'help');
  const options = command.options
    .filter(({ long, hidden }) => long && !hidden)
    .map(({ long, description }) => ({ flag: long as string, about: description }));
  const below = shown.flatMap((sub) => wordsOf(sub, `${path} ${sub.name()}`.trim()));
  return [{ path, commands: shown, options: [...options, { flag: '--help', about: 'show help' }] }, ...below];
}

function bash(all: readonly Words[]): string {
  const cases = all.map(
    ({ path, commands, options }) =>
      `    '${path}') words='${[...commands.map((sub) => sub.name()), ...options.map(({ flag }) => flag)].join(' ')}' ;;`,
  );
  const groups = all.filter(({ path, commands }) => path !== '' && commands.length > 0).map(({ path }) => path);
  return `_lovage() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" path='' words=''
  local first="\${COMP_WORDS[1]}" second="\${COMP_WORDS[2]}"
  if [ "$COMP_CWORD" -gt 1 ]; then path="$first"; fi
  case "$first" in ${groups.join('|')}) if [ "$COMP_CWORD" -gt 2 ]; then path="$first $second"; fi ;; esac
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [ "\${#COMPREPLY[@]}" -eq 0 ]; then COMPREPLY=($(compgen -f -- "$cur")); fi
}
complete -o filenames -F _lovage lovage`;
}

const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

function fish(all: readonly Words[]): string {
  const lines: string[] = [];
  for (const { path, commands, options } of all) {
    const when =
      path === ''
        ? '__fish_use_subcommand'
        : path
            .split(' ')
            .map((word) => `__fish_seen_subcommand_from ${word}`)
            .join('; and ');
    for (const sub of commands)
      lines.push(`complete -c lovage -n '${when}' -f -a ${sub.name()} -d ${quoted(sub.summary() || sub.description())}`);
    for (const { flag, about } of options) lines.push(`complete -c lovage -n '${when}' -l ${flag.slice(2)} -d ${quoted(about)}`);
  }
  return lines.join('\n');
}

export function defineCompletion(command: Command): void {
  command
    .description('Prints a script that completes commands and options with the Tab key.')
    .addArgument(new Argument('<shell>', 'your shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      `
Examples:
  $ source <(lovage completion bash)
  $ lovage completion fish > ~/.config/fish/completions/lovage.fish`,
    )
    .action(async (shell: 'bash' | 'zsh' | 'fish') => {
      const { createProgram } = await import('../program.js');
      const all = wordsOf(await createProgram('*'), '');
      if (shell === 'fish') return printLine(fish(all));
      printLine(shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${bash(all)}` : bash(all));
    });
}
