/**
 * Remote commands of the app's own (`app.controlCommand`). They are user code, so one executor of the worker runs them; the engine
 * waits for its answer, and no longer than a moment: the executor may be kept by a task. Over there: `executor/commands.ts`.
 */
import type { CustomCommands } from '../../../control/worker-port.js';
import { systemClock } from '../../../core/clock.js';
import { formatMs } from '../../../core/duration.js';
import { decodeJson, encodeJson } from '../../../wire/serializers/json.js';
import type { FromExecutor } from '../../port.js';
import type { Executors } from '../executors/executors.js';

/** A client waits a second as a rule; longer work belongs into a task. */
const ANSWER_MS = 10_000;

/** Thrown over there; its name and message are what the reply shows. */
class CommandFailed extends Error {
  override readonly name: string;

  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

type Answer = Extract<FromExecutor, { readonly type: 'commanded' }>;

export class EngineCommands implements CustomCommands {
  readonly #executors: Executors;
  readonly #nodeName: string;
  readonly #names: ReadonlySet<string>;
  /** By number. Bounded by the mailbox, which runs so many commands at once, and by the time that each may take. */
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #count = 0;

  constructor(executors: Executors, nodeName: string, names: readonly string[]) {
    this.#executors = executors;
    this.#nodeName = nodeName;
    this.#names = new Set(names);
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  run(name: string, args: Readonly<Record<string, unknown>>): Promise<unknown> {
    const [executor] = this.#executors.idlest();
    if (executor === undefined)
      return Promise.reject(new CommandFailed('RuntimeError', 'no executor of this worker can run anything now'));
    this.#count += 1;
    const command = this.#count;
    const argsJson = encodeJson(args, { path: 'arguments' });
    const { promise, resolve, reject } = withResolvers();
    const disarm = systemClock.after(ANSWER_MS, () =>
      reject(new CommandFailed('TimeoutError', `no answer from an executor within ${formatMs(ANSWER_MS)}`)),
    );
    this.#waiting.set(command, { resolve, reject });
    this.#executors.post(executor, { type: 'command', command, name, argsJson, nodeName: this.#nodeName });
    return promise.finally(() => {
      disarm();
      this.#waiting.delete(command);
    });
  }

  hear(answer: Answer): void {
    const waiting = this.#waiting.get(answer.command);
    if (!waiting) return;
    if ('error' in answer) waiting.reject(new CommandFailed(answer.error.name, answer.error.message));
    else waiting.resolve(decodeJson(answer.resultJson));
  }
}

function withResolvers(): { promise: Promise<unknown>; resolve(value: unknown): void; reject(error: Error): void } {
  let resolve!: (value: unknown) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<unknown>((done, failed) => {
    resolve = done;
    reject = failed;
  });
  return { promise, resolve, reject };
}
