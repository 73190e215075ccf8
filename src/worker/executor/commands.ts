/** Runs the app's own remote commands, asked by the engine (`engine/control/custom-commands.ts`). Whatever happens, there is an answer. */
import type { ControlCommands } from '../../app/control/control-commands.js';
import { toError } from '../../core/errors.js';
import { decodeJson, encodeJson } from '../../wire/serializers/json.js';
import type { ExecutorEnd, ToExecutor } from '../port.js';

type Asked = Extract<ToExecutor, { readonly type: 'command' }>;

export async function runCommand(asked: Asked, commands: ControlCommands, end: ExecutorEnd): Promise<void> {
  const { command, name, argsJson, nodeName } = asked;
  try {
    const handler = commands.get(name);
    if (!handler) throw new Error(`no command named ${name} is defined in this executor`);
    const result = await handler(decodeJson(argsJson) as Readonly<Record<string, unknown>>, { nodeName });
    end.post({ type: 'commanded', command, resultJson: encodeJson(result ?? null, { path: 'reply' }) });
  } catch (thrown) {
    const { name: errorName, message } = toError(thrown);
    end.post({ type: 'commanded', command, error: { name: errorName, message } });
  }
}
