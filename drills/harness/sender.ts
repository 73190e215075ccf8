/**
 * The client of a drill: sends tasks and repeats each send under its id until the broker has confirmed it, as a careful
 * program does. What was confirmed is noted in the ledger; so is what had to be sent twice after an unclear answer.
 */
import { type App, createApp, PublishError, SendManyError, type SendRow, type TaskHandle } from 'lovage';
import type { Ledger } from './ledger.js';
import { pause } from './wait.js';

export interface SenderOptions {
  readonly brokerUrl: string;
  readonly resultUrl: string;
  readonly queue: string;
  readonly ledger: Ledger;
  /** How long one task's send is repeated before the drill gives up. Default ten minutes: longer than any outage here. */
  readonly patienceMs?: number;
}

type Row = SendRow<readonly unknown[]>;

const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

export class Sender {
  readonly app: App;
  /** Handle of each task that was sent; as many as the drill sends. */
  readonly #handles = new Map<string, TaskHandle<unknown>>();
  /** Sends that had to be repeated. */
  repeated = 0;
  readonly #options: SenderOptions;

  constructor(options: SenderOptions) {
    this.#options = options;
    const { brokerUrl: broker, resultUrl: results, queue: defaultQueue } = options;
    this.app = createApp({ name: 'drill-sender', broker, results, defaultQueue, logger: quiet });
  }

  /** Sends all rows; ids in order. @throws the last error of a row that could not be sent in time */
  async sendMany(task: string, rows: readonly Row[]): Promise<string[]> {
    const remote = this.app.remote<readonly unknown[], unknown>(task);
    const { ledger } = this.#options;
    let results: readonly (string | Error)[];
    const startedMs = Date.now();
    try {
      results = (await remote.sendMany(rows)).map((handle) => this.#keep(handle));
    } catch (error) {
      if (!(error instanceof SendManyError)) throw error;
      results = error.results.map((result) => (result.status === 'sent' ? this.#keep(result.handle) : result.error));
    }
    ledger.sent(
      results.filter((result) => typeof result === 'string'),
      startedMs,
    );
    return Promise.all(
      results.map((result, index) =>
        typeof result === 'string' ? result : this.#repeat(task, rows[index] as Row, result, startedMs),
      ),
    );
  }

  async send(task: string, ...args: unknown[]): Promise<string> {
    const [id] = await this.sendMany(task, [{ args }]);
    return id as string;
  }

  handle(id: string): TaskHandle<unknown> {
    const handle = this.#handles.get(id);
    if (!handle) throw new Error(`this sender has not sent ${id}`);
    return handle;
  }

  close(): Promise<void> {
    return this.app.close();
  }

  #keep(handle: TaskHandle<unknown>): string {
    this.#handles.set(handle.id, handle);
    return handle.id;
  }

  async #repeat(task: string, row: Row, failure: Error, startedMs: number): Promise<string> {
    const { ledger, patienceMs = 600_000 } = this.#options;
    let error = failure;
    for (const end = Date.now() + patienceMs; Date.now() < end; await pause(100)) {
      const id = error instanceof PublishError ? error.taskId : null;
      if (id == null) throw error;
      this.repeated += 1;
      if (error instanceof PublishError && error.outcome === 'unknown')
        ledger.fault({ kind: 'resend', target: `task:${id}`, fromMs: startedMs, toMs: Date.now() });
      try {
        this.#keep(
          await this.app
            .remote<readonly unknown[], unknown>(task)
            .with({ ...row.options, id })
            .send(...row.args),
        );
        ledger.sent([id], startedMs);
        return id;
      } catch (thrown) {
        error = thrown as Error;
      }
    }
    throw error;
  }
}
