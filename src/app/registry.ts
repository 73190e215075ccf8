/** The tasks of an app by name. */
import { ConfigError } from '../core/errors.js';
import type { TaskDefinition } from './definition.js';

export class Registry {
  readonly #definitions = new Map<string, TaskDefinition>();

  /** @throws ConfigError `E_TASK_NAME_TAKEN`, `E_CONFIG_RANGE` for an empty name */
  add(definition: TaskDefinition): void {
    const { name } = definition;
    if (this.#definitions.has(name)) {
      throw new ConfigError(
        'E_TASK_NAME_TAKEN',
        `a task named ${JSON.stringify(name)} is defined already in this app: names are unique, because they are all that travels`,
      );
    }
    this.#definitions.set(name, definition);
  }

  get(name: string): TaskDefinition | undefined {
    return this.#definitions.get(name);
  }

  /** In the order of their definition. */
  all(): readonly TaskDefinition[] {
    return [...this.#definitions.values()];
  }
}

/** @throws ConfigError `E_CONFIG_RANGE` */
export function checkTaskName(name: unknown): asserts name is string {
  if (typeof name === 'string' && name !== '' && name.length <= 255) return;
  throw new ConfigError(
    'E_CONFIG_RANGE',
    `task name is ${JSON.stringify(name)}: it must be text of 1 to 255 characters, for example 'invoices.sync'`,
  );
}
