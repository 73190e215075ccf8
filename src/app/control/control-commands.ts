/** The app's own remote commands, by name. They run in an executor of each worker that is asked: `worker/executor/commands.ts`. */
import { ConfigError } from '../../core/errors.js';
import { CELERY_COMMANDS } from '../../wire/control-message.js';

/** What a command's handler is told beside its arguments. */
export interface ControlCommandContext {
  /** The name of the worker that was asked. */
  readonly nodeName: string;
}

/** Answers a remote command: what it returns is the reply, what it throws the reply's error. */
export type ControlCommandHandler = (args: Readonly<Record<string, unknown>>, context: ControlCommandContext) => unknown;

/** As Python names a function, because that is what defines a command there. */
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,99}$/;
/** All are told to the engine when an executor starts. */
const MOST_COMMANDS = 1_000;

export class ControlCommands {
  /** Bounded by `MOST_COMMANDS`. */
  readonly #handlers = new Map<string, ControlCommandHandler>();

  get names(): string[] {
    return [...this.#handlers.keys()];
  }

  get(name: string): ControlCommandHandler | undefined {
    return this.#handlers.get(name);
  }

  /** @throws ConfigError `E_CONFIG_RANGE`, `E_CONFIG_TYPE`, `E_TASK_NAME_TAKEN` */
  add(name: string, handler: ControlCommandHandler): void {
    if (typeof name !== 'string' || !NAME.test(name))
      throw new ConfigError(
        'E_CONFIG_RANGE',
        `control command ${JSON.stringify(name)}: a name has 1 to 100 letters, digits and '_', and begins with no digit`,
      );
    if (typeof handler !== 'function')
      throw new ConfigError(
        'E_CONFIG_TYPE',
        `control command ${name}: the handler is a ${typeof handler}: it must be a function`,
      );
    if (this.#handlers.has(name) || CELERY_COMMANDS.has(name))
      throw new ConfigError('E_TASK_NAME_TAKEN', `a control command named ${name} is there already: choose another name`);
    if (this.#handlers.size >= MOST_COMMANDS)
      throw new ConfigError('E_CONFIG_RANGE', `an app has ${MOST_COMMANDS} control commands at most`);
    this.#handlers.set(name, handler);
  }
}
