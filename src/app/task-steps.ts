/**
 * `ctx.step`: each named step of a task runs until it has succeeded once, and its result is kept for the tries after that. Owns the
 * rules of one run; where results are kept is a `StepPlace`: the result store over the port, or memory for `task.run()`.
 */
import { ArgumentError, ConfigError, TaskError } from '../core/errors.js';
import { MOST_STEP_BYTES, MOST_STEPS, type StepAnswer } from '../results/steps.js';
import { decodeJson, encodeJson, type JsonMode } from '../wire/serializers/json.js';

const LONGEST_NAME = 200;

export interface StepPlace {
  read(name: string): Promise<string | null>;
  write(name: string, resultJson: string): Promise<StepAnswer>;
}

export class TaskSteps {
  readonly #place: StepPlace;
  readonly #json: JsonMode;
  /** Under way in this run. */
  readonly #running = new Set<string>();

  constructor(place: StepPlace, json: JsonMode) {
    this.#place = place;
    this.#json = json;
  }

  async run<T>(name: string, work: () => T | PromiseLike<T>, throwIfAborted: () => void): Promise<T> {
    checkName(name);
    if (this.#running.has(name))
      throw new TaskError('E_STEP_BUSY', `step ${JSON.stringify(name)} is under way: give each its name`);
    this.#running.add(name);
    try {
      const stored = await this.#place.read(name);
      if (stored !== null) return decodeJson(stored) as T;
      throwIfAborted();
      const resultJson = this.#encode(name, await work());
      return decodeJson(this.#standing(name, resultJson, await this.#place.write(name, resultJson))) as T;
    } finally {
      this.#running.delete(name);
    }
  }

  #encode(name: string, value: unknown): string {
    const json = value === undefined ? 'null' : encodeJson(value, { path: `step ${JSON.stringify(name)}`, mode: this.#json });
    const bytes = Buffer.byteLength(json);
    if (bytes <= MOST_STEP_BYTES) return json;
    const text = `step ${JSON.stringify(name)} gave ${bytes} bytes, and ${MOST_STEP_BYTES} is the most: store it, and give back where`;
    throw new ArgumentError('E_STEP_LIMIT', text);
  }

  /** What everybody goes on with. */
  #standing(name: string, resultJson: string, answer: StepAnswer): string {
    switch (answer.kind) {
      case 'stored':
        return resultJson;
      case 'present':
        return answer.resultJson;
      case 'full':
        throw new ArgumentError('E_STEP_LIMIT', `step ${JSON.stringify(name)} is one too many: a task has at most ${MOST_STEPS}`);
      case 'fenced':
        throw new TaskError('E_LEASE_LOST', 'another worker has this task now: what this step gave was refused');
    }
  }
}

/** Steps of a task that runs in place: kept for as long as it runs. */
export function localSteps(json: JsonMode): TaskSteps {
  const kept = new Map<string, string>();
  const write = async (name: string, resultJson: string): Promise<StepAnswer> => {
    if (kept.size >= MOST_STEPS) return { kind: 'full' };
    kept.set(name, resultJson);
    return { kind: 'stored' };
  };
  return new TaskSteps({ read: async (name) => kept.get(name) ?? null, write }, json);
}

function checkName(name: unknown): void {
  if (typeof name === 'string' && name !== '' && name.length <= LONGEST_NAME) return;
  throw new ConfigError('E_CONFIG_RANGE', `a step's name is text of 1 to ${LONGEST_NAME} characters`);
}
