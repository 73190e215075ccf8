/**
 * Schedules in PostgreSQL, for brokers that keep none: the message goes first and the decision second. Each call of the seam is one
 * statement and one transaction; what they do is `schema.ts`. That a leader lives is told by NOTIFY, which writes nothing, so no clock
 * counts; who hears it is `listening.ts`.
 *
 * Every statement may be repeated after a lost answer, as the pool does: what it would do twice is held off by epochs, revisions and numbers.
 */
import { PostgresPool } from '../../../clients/postgres.js';
import { loadPostgres, type PostgresStatement, type PostgresValue, textArray } from '../../../clients/postgres-library.js';
import { migrate } from '../../../clients/postgres-schema.js';
import { parsePostgresUrl } from '../../../clients/postgres-url.js';
import type { Logger } from '../../../core/logger.js';
import { keyOf } from '../../../results/postgres/texts.js';
import {
  type BeatListener,
  type BeatStore,
  type BeatStoreOptions,
  type ChangeAnswer,
  type EntryChange,
  type EntryNews,
  type EntryRecord,
  type EntrySnapshot,
  type FireAnswer,
  type Firing,
  type Lead,
  MOST_CHANGES,
  MOST_ENTRIES,
  MOST_REQUESTS,
  type RunRequest,
} from '../../beat-store.js';
import { assertOpen } from '../../from-url.js';
import { listenTo } from './listening.js';
import { BEAT_TABLES } from './schema.js';
import { type BeatStatements, channelOf, statementsOf } from './statements.js';

const REACH_MS = 5_000;
/** A page of entries, or of changes, may take longer than a word about the lead. */
const PAGE_MS = 15_000;
/** A sign of life that comes later than this helps nobody. */
const SIGN_MS = 2_000;
/** Changes or decisions in one transaction: it holds up the others of its app. */
const CHUNK = 200;
/** Entries in one answer while all are read. */
const PAGE = 2_000;
const ANSWERS: Readonly<Record<string, ChangeAnswer>> = { d: 'done', c: 'conflict', m: 'missing', f: 'full' };

interface Row extends EntryRecord {
  /** `head`: the version stands in `revision`, the horizon in `seq`. `request`: its entry stands in `definition`. */
  readonly kind: 'head' | 'request' | 'removed' | 'entry';
}

interface LeadRow {
  readonly leader: string | null;
  readonly term: number;
}

/** Opens the schedules at this URL; connects at the first use. @throws ConfigError `E_CONFIG_URL`, `E_DRIVER_MISSING` */
export async function openPostgresBeat(options: BeatStoreOptions): Promise<BeatStore> {
  const store = new PostgresBeat(options);
  await loadPostgres();
  return store;
}

class PostgresBeat implements BeatStore {
  readonly name = 'postgresql';
  readonly handsOver = 'PostgreSQL is no broker, so a message cannot be handed over in its transactions';
  readonly #pool: PostgresPool;
  readonly #statements: BeatStatements;
  readonly #logger: Logger;
  /** Under which the app stands in an index. */
  readonly #app: string;
  readonly #channel: string;
  readonly #listening = new Set<{ close(): Promise<void> }>();
  #closing: Promise<void> | null = null;

  constructor({ url, app, logger }: BeatStoreOptions) {
    const target = parsePostgresUrl(url);
    this.#logger = logger;
    this.#app = keyOf(app);
    this.#channel = channelOf(target.schema, this.#app);
    this.#statements = statementsOf(target.schema);
    this.#pool = new PostgresPool({
      ...{ target, logger, name: 'lovage:beat' },
      prepare: (session) => migrate(session, target, BEAT_TABLES),
    });
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    await this.#ask(this.#statements.ready, [], timeoutMs);
  }

  async load(): Promise<EntrySnapshot> {
    // The version first: what is changed while the rest is read is read again as news.
    const { version, requests } = newsIn(await this.#ask<Row>(this.#statements.head, [this.#app]));
    const entries: EntryRecord[] = [];
    for (let after = ''; ; ) {
      const page = await this.#ask<EntryRecord>(this.#statements.page, [this.#app, after, PAGE], PAGE_MS);
      entries.push(...page);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return { version, entries, requests };
      after = last.id;
    }
  }

  async get(id: string): Promise<EntryRecord | null> {
    const [record] = await this.#ask<EntryRecord>(this.#statements.get, [this.#app, id]);
    return record ?? null;
  }

  async changesSince(since: number): Promise<EntryNews | null> {
    const rows = await this.#ask<Row>(this.#statements.news, [this.#app, since, MOST_CHANGES + 1], PAGE_MS);
    const { horizon, ...news } = newsIn(rows);
    if (since < horizon || since > news.version || news.entries.length + news.removed.length > MOST_CHANGES) return null;
    return news;
  }

  async change(changes: readonly EntryChange[]): Promise<readonly ChangeAnswer[]> {
    const answers: ChangeAnswer[] = [];
    for (let from = 0; from < changes.length; from += CHUNK) {
      const part = changes.slice(from, from + CHUNK);
      const texts = part.map((change) =>
        change.kind === 'put' ? change.definition : change.kind === 'run' ? change.request : null,
      );
      const values = [
        ...[this.#app, this.#channel],
        ...[textArray(part.map(({ kind }) => kind)), textArray(part.map(({ id }) => id))],
        part.map((change) => (change.kind === 'run' ? null : (change.expect ?? null))),
        textArray(texts),
        part.map((change) => change.kind === 'put' && change.paused),
        ...[MOST_ENTRIES, MOST_REQUESTS, MOST_CHANGES],
      ];
      const [row] = await this.#ask<{ readonly answers: string }>(this.#statements.change, values, PAGE_MS);
      for (const letter of row?.answers ?? '') answers.push(ANSWERS[letter] as ChangeAnswer);
    }
    return answers;
  }

  async fire(epoch: number, firings: readonly Firing[]): Promise<readonly FireAnswer[] | null> {
    const answers: FireAnswer[] = [];
    for (let from = 0; from < firings.length; from += CHUNK) {
      const part = firings.slice(from, from + CHUNK);
      const values = [
        ...[this.#app, epoch, textArray(part.map(({ id }) => id))],
        ...[part.map(({ revision }) => revision), part.map(({ seq }) => seq)],
        ...[textArray(part.map(({ state }) => state)), textArray(part.map(({ request }) => request))],
      ];
      const [row] = await this.#ask<{ readonly answers: string | null }>(this.#statements.fire, values);
      if (row?.answers == null) return null;
      for (const letter of row.answers) answers.push(letter === 'd' ? 'done' : 'stale');
    }
    return answers;
  }

  async lead(): Promise<Lead> {
    return leadIn(await this.#ask<LeadRow>(this.#statements.lead, [this.#app]));
  }

  async takeLead(owner: string, seenEpoch: number): Promise<Lead> {
    return leadIn(await this.#ask<LeadRow>(this.#statements.takeLead, [this.#app, this.#channel, owner, seenEpoch]));
  }

  async resign({ owner, epoch }: Lead): Promise<void> {
    if (owner !== null) await this.#ask(this.#statements.resign, [this.#app, this.#channel, owner, epoch]);
  }

  beat({ owner, epoch }: Lead): Promise<void> {
    return this.#notify(this.#channel, `lead ${epoch} ${owner ?? ''}`);
  }

  async listen(listener: BeatListener): Promise<() => Promise<void>> {
    assertOpen(this.#closing !== null);
    const listening = listenTo({
      ...{ target: this.#pool.target, logger: this.#logger, channel: this.#channel, listener },
      notify: (channel, payload) => this.#notify(channel, payload),
    });
    this.#listening.add(listening);
    return async () => {
      this.#listening.delete(listening);
      await listening.close();
    };
  }

  close(): Promise<void> {
    this.#closing ??= Promise.all([...[...this.#listening].map((each) => each.close()), this.#pool.close()]).then(() => {});
    return this.#closing;
  }

  async #notify(channel: string, payload: string): Promise<void> {
    await this.#ask(this.#statements.notify, [channel, payload], SIGN_MS);
  }

  async #ask<Answer>(
    statement: PostgresStatement,
    values: readonly PostgresValue[],
    timeoutMs: number = REACH_MS,
  ): Promise<readonly Answer[]> {
    assertOpen(this.#closing !== null);
    return this.#pool.query<Answer>(statement, values, { timeoutMs });
  }
}

const leadIn = ([row]: readonly LeadRow[]): Lead => ({ owner: row?.leader ?? null, epoch: row?.term ?? 0 });

/** Rows of `head` or `news`. An entry that was removed and added again is in both lists, so that nobody keeps what was decided of the old one. */
function newsIn(rows: readonly Row[]): EntryNews & { readonly horizon: number } {
  let [version, horizon] = [0, 0];
  const entries: EntryRecord[] = [];
  const removed: string[] = [];
  const requests: RunRequest[] = [];
  for (const { kind, ...record } of rows) {
    if (kind === 'head') [version, horizon] = [record.revision, record.seq];
    else if (kind === 'request') requests.push({ id: record.id, entry: record.definition });
    else if (kind === 'removed') removed.push(record.id);
    else entries.push(record);
  }
  return { version, horizon, entries, removed, requests };
}
