/**
 * The PostgreSQL result store: tables of our own in a schema of the user's database. Owns the seam (`result-store.ts`): turning
 * calls into statements, batches into pages. Rules are in `result-functions.ts` and its neighbours, waiting in `waiters.ts`, the
 * connections in `clients/postgres.ts`, tables in `schema.ts`.
 *
 * Every statement may be repeated after a lost answer, so that the pool does so by itself until the deadline of the call.
 */
import { PostgresPool, type PostgresQueryOptions } from '../../clients/postgres.js';
import { loadPostgres, type PostgresStatement, type PostgresValue, textArray } from '../../clients/postgres-library.js';
import { migrate } from '../../clients/postgres-schema.js';
import { parsePostgresUrl } from '../../clients/postgres-url.js';
import { BrokerError } from '../../core/errors.js';
import type { SendKeySwap } from '../../core/send-keys.js';
import type { TimedSet } from '../../core/timed-set.js';
import type { ChordStore } from '../chords.js';
import type {
  Claim,
  ResultStore,
  ResultStoreCapabilities,
  ResultStoreOptions,
  ResultWrite,
  WaitOptions,
  WriteResult,
} from '../result-store.js';
import type { StepStore } from '../steps.js';
import { postgresChords } from './chords.js';
import { postgresMarks } from './marks.js';
import { RESULT_TABLES } from './schema.js';
import { type Statements, statementsOf } from './statements.js';
import { postgresSteps } from './steps.js';
import { Sweeper } from './sweeper.js';
import { decode, encode, keyOf, ttlOf } from './texts.js';
import { ResultWaiters } from './waiters.js';

/** In one statement: more would hold their rows for long. */
const WRITE_PAGE = 500;
const WRITE_PAGE_CHARACTERS = 4_000_000;
const READ_PAGE = 500;
/** For what people or senders wait for. */
const REACH_MS = 5_000;
/** For what must not be lost; whoever writes asks again after that. */
const WRITE_MS = 15_000;

/** Asks one of the statements; `write`: with the patience that outcomes need. */
export type Ask = <Row>(
  statement: PostgresStatement,
  values: readonly PostgresValue[],
  kind: 'read' | 'write',
) => Promise<readonly Row[]>;

/** Opens the PostgreSQL result store of this URL; connects at the first use. @throws ConfigError `E_CONFIG_URL`, `E_DRIVER_MISSING` */
export async function openPostgresResults(options: ResultStoreOptions): Promise<ResultStore> {
  const store = new PostgresResults(options);
  await loadPostgres();
  return store;
}

/** What a store that `openPostgresResults` made holds; for tests of leaks and bounds. */
export function postgresResultsForTests(store: ResultStore): {
  readonly waits: number;
  readonly connections: number;
  sweep(most: number): Promise<number>;
} {
  if (!(store instanceof PostgresResults)) throw new TypeError('this takes a store that openPostgresResults() opened');
  return store.forTests();
}

const ANSWERS: Readonly<Record<string, WriteResult>> = { s: 'stored', f: 'final', x: 'fenced' };

class PostgresResults implements ResultStore {
  readonly name = 'postgresql';
  readonly capabilities: ResultStoreCapabilities = {
    ...{ readableByAnyone: true, fence: true, sendKeys: true, chords: true, steps: true },
  };
  readonly revocations: TimedSet;
  readonly chords: ChordStore;
  readonly steps: StepStore;
  readonly #pool: PostgresPool;
  readonly #statements: Statements;
  readonly #waiters: ResultWaiters;
  readonly #sweeper: Sweeper;
  #closing: Promise<void> | null = null;

  constructor({ url, logger, role }: ResultStoreOptions) {
    const target = parsePostgresUrl(url);
    this.#statements = statementsOf(target.schema);
    this.#pool = new PostgresPool({
      ...{ target, logger, name: `lovage:results:${role}` },
      prepare: (session) => migrate(session, target, RESULT_TABLES),
    });
    const ask: Ask = (statement, values, kind) => this.#ask(statement, values, kind);
    this.#sweeper = new Sweeper((most) => this.#sweep(most), logger);
    this.chords = postgresChords(ask, this.#statements);
    this.steps = postgresSteps(ask, this.#statements);
    this.revocations = postgresMarks(ask, this.#statements);
    this.#waiters = new ResultWaiters({
      ...{ target, logger, statements: this.#statements },
      look: (keys) => this.#look(keys),
    });
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    await this.#query(this.#statements.ready, [], { timeoutMs });
  }

  async set(writes: readonly ResultWrite[]): Promise<readonly WriteResult[]> {
    this.#assertOpen();
    const results: WriteResult[] = [];
    // one after the other: a later write of an id must not overtake an earlier one
    for (const page of pagesOf(writes)) {
      const values = [
        textArray(page.map(({ id }) => keyOf(id))),
        textArray(page.map(({ state }) => encode(state))),
        textArray(page.map(({ meta }) => encode(meta))),
        page.map(({ epoch }) => epoch),
        page.map(({ ttlMs }) => ttlOf(ttlMs)),
      ];
      const [row] = await this.#ask<{ readonly answers: string }>(this.#statements.write, values, 'write');
      for (const letter of row?.answers ?? '') results.push(ANSWERS[letter] as WriteResult);
    }
    return results;
  }

  async get(ids: readonly string[]): Promise<readonly (string | null)[]> {
    this.#assertOpen();
    const metas: (string | null)[] = [];
    for (let from = 0; from < ids.length; from += READ_PAGE) {
      const keys = ids.slice(from, from + READ_PAGE).map(keyOf);
      const rows = await this.#ask<{ readonly meta: string | null }>(this.#statements.read, [textArray(keys)], 'read');
      for (const { meta } of rows) metas.push(meta === null ? null : decode(meta));
    }
    return metas;
  }

  async claim(id: string, { ttlMs }: { readonly ttlMs: number }): Promise<Claim> {
    // Repeated after a lost answer it skips an epoch, which harms nobody.
    const [row] = await this.#ask<{ readonly claimed: number; readonly final: string | null }>(
      this.#statements.claim,
      [keyOf(id), ttlOf(ttlMs)],
      'write',
    );
    if (row === undefined) throw new BrokerError('E_INTERNAL', 'a claim had no answer');
    return row.final === null ? { epoch: row.claimed } : { final: decode(row.final) };
  }

  async prepare(): Promise<null> {
    this.#assertOpen();
    return null;
  }

  async wait(id: string, { signal }: WaitOptions, onUpdate?: (meta: string) => void): Promise<string> {
    this.#assertOpen();
    return this.#waiters.wait(keyOf(id), signal, onUpdate);
  }

  async forget(ids: readonly string[]): Promise<void> {
    this.#assertOpen();
    for (let from = 0; from < ids.length; from += READ_PAGE)
      await this.#ask(this.#statements.forget, [textArray(ids.slice(from, from + READ_PAGE).map(keyOf))], 'read');
  }

  async swapSendKey({ key, expected, value, ttlMs }: SendKeySwap): Promise<string | null> {
    const texts = [expected, value].map((text) => (text === null ? null : encode(text)));
    const [row] = await this.#ask<{ readonly there: string | null }>(
      this.#statements.swapSendKey,
      [keyOf(key), texts[0] ?? null, texts[1] ?? null, ttlOf(ttlMs)],
      'read',
    );
    const there = row?.there ?? null;
    return there === null ? null : decode(there);
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#sweeper.stop();
      await this.#waiters.close();
      await this.#pool.close();
    })();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** See `postgresResultsForTests`. */
  forTests(): ReturnType<typeof postgresResultsForTests> {
    return { waits: this.#waiters.size, connections: this.#pool.size, sweep: (most) => this.#sweep(most) };
  }

  async #look(
    keys: readonly string[],
  ): Promise<readonly { readonly id: string; readonly state: string; readonly meta: string }[]> {
    const rows = await this.#query<{ readonly id: string; readonly state: string; readonly meta: string }>(
      this.#statements.look,
      [textArray(keys)],
      { timeoutMs: REACH_MS },
    );
    return rows.map(({ id, state, meta }) => ({ id, state: decode(state), meta: decode(meta) }));
  }

  async #sweep(most: number): Promise<number> {
    const [row] = await this.#query<{ readonly removed: number }>(this.#statements.sweep, [most], { timeoutMs: WRITE_MS });
    return row?.removed ?? 0;
  }

  async #ask<Row>(
    statement: PostgresStatement,
    values: readonly PostgresValue[],
    kind: 'read' | 'write',
  ): Promise<readonly Row[]> {
    const rows = await this.#query<Row>(statement, values, { timeoutMs: kind === 'write' ? WRITE_MS : REACH_MS });
    if (kind === 'write') this.#sweeper.written();
    return rows;
  }

  async #query<Row>(
    statement: PostgresStatement,
    values: readonly PostgresValue[],
    options: PostgresQueryOptions,
  ): Promise<readonly Row[]> {
    this.#assertOpen();
    return this.#pool.query<Row>(statement, values, options);
  }

  #assertOpen(): void {
    if (this.#closing) throw new BrokerError('E_CLOSED', 'the PostgreSQL result store was used after close()');
  }
}

/** Not too many and not too large. */
function* pagesOf(writes: readonly ResultWrite[]): Generator<readonly ResultWrite[]> {
  let page: ResultWrite[] = [];
  let characters = 0;
  for (const write of writes) {
    if (page.length === WRITE_PAGE || (page.length > 0 && characters + write.meta.length > WRITE_PAGE_CHARACTERS)) {
      yield page;
      page = [];
      characters = 0;
    }
    page.push(write);
    characters += write.meta.length;
  }
  if (page.length > 0) yield page;
}
