/** Schedules in this process, for tests and `memory:` apps. Everybody who opens the same URL and app shares them while somebody has them open. */
import { ProcessShared } from '../../clients/process-shared.js';
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
} from '../beat-store.js';
import { assertOpen } from '../from-url.js';

interface Space {
  readonly entries: Map<string, EntryRecord>;
  /** Request → entry. */
  readonly requests: Map<string, string>;
  /** Id → version of its last change, the oldest first. */
  readonly changes: Map<string, number>;
  readonly listeners: Set<BeatListener>;
  version: number;
  /** The newest change that was forgotten. */
  horizon: number;
  lead: Lead;
}

const SPACES = new ProcessShared<Space>();

export function openMemoryBeat({ url, app }: BeatStoreOptions): BeatStore {
  return new MemoryBeat(`${url}\n${app}`);
}

class MemoryBeat implements BeatStore {
  readonly name = 'memory';
  readonly handsOver = 'memory: keeps messages and schedules apart; both are gone with the process';
  readonly #space: Space;
  readonly #release: () => void;
  readonly #own = new Set<BeatListener>();
  #closed = false;

  constructor(key: string) {
    const use = SPACES.use(key, () => ({
      entries: new Map(),
      requests: new Map(),
      changes: new Map(),
      listeners: new Set(),
      version: 0,
      horizon: 0,
      lead: { owner: null, epoch: 0 },
    }));
    this.#space = use.value;
    this.#release = use.release;
  }

  async connect(): Promise<void> {
    assertOpen(this.#closed);
  }

  async load(): Promise<EntrySnapshot> {
    assertOpen(this.#closed);
    return { version: this.#space.version, entries: [...this.#space.entries.values()], requests: this.#requests() };
  }

  async get(id: string): Promise<EntryRecord | null> {
    assertOpen(this.#closed);
    return this.#space.entries.get(id) ?? null;
  }

  async changesSince(since: number): Promise<EntryNews | null> {
    assertOpen(this.#closed);
    const { changes, entries, horizon, version } = this.#space;
    if (since < horizon || since > version) return null;
    const ids = [...changes].filter(([, at]) => at > since).map(([id]) => id);
    return {
      version,
      entries: ids.flatMap((id) => entries.get(id) ?? []),
      removed: ids.filter((id) => !entries.has(id)),
      requests: this.#requests(),
    };
  }

  async change(changes: readonly EntryChange[]): Promise<readonly ChangeAnswer[]> {
    assertOpen(this.#closed);
    const answers = changes.map((change) => this.#change(change));
    if (answers.includes('done')) this.#tell((listener) => listener.onChange());
    return answers;
  }

  async fire(epoch: number, firings: readonly Firing[]): Promise<readonly FireAnswer[] | null> {
    assertOpen(this.#closed);
    const { entries, lead, requests } = this.#space;
    if (lead.epoch !== epoch || lead.owner === null) return null;
    return firings.map(({ id, revision, seq, state, request }) => {
      const entry = entries.get(id);
      if (entry === undefined || entry.revision !== revision || entry.seq !== seq) return 'stale';
      if (request !== null && !requests.delete(request)) return 'stale';
      entries.set(id, { ...entry, seq: seq + 1, state });
      return 'done';
    });
  }

  async lead(): Promise<Lead> {
    assertOpen(this.#closed);
    return this.#space.lead;
  }

  async takeLead(owner: string, seenEpoch: number): Promise<Lead> {
    assertOpen(this.#closed);
    if (this.#space.lead.epoch === seenEpoch) this.#setLead({ owner, epoch: seenEpoch + 1 });
    return this.#space.lead;
  }

  async resign({ owner, epoch }: Lead): Promise<void> {
    assertOpen(this.#closed);
    if (this.#space.lead.epoch === epoch && this.#space.lead.owner === owner) this.#setLead({ owner: null, epoch });
  }

  async beat(lead: Lead): Promise<void> {
    assertOpen(this.#closed);
    this.#tell((listener) => listener.onLead(lead));
  }

  async listen(listener: BeatListener): Promise<() => Promise<void>> {
    assertOpen(this.#closed);
    this.#space.listeners.add(listener);
    this.#own.add(listener);
    listener.onUp();
    return async () => {
      this.#space.listeners.delete(listener);
      this.#own.delete(listener);
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const listener of this.#own) this.#space.listeners.delete(listener);
    this.#release();
  }

  #requests(): EntrySnapshot['requests'] {
    return [...this.#space.requests].map(([id, entry]) => ({ id, entry }));
  }

  #change(change: EntryChange): ChangeAnswer {
    const { entries, requests } = this.#space;
    const entry = entries.get(change.id);
    if (change.kind === 'run') {
      if (entry === undefined) return 'missing';
      if (requests.size >= MOST_REQUESTS) return 'full';
      requests.set(change.request, change.id);
      this.#space.version += 1;
      return 'done';
    }
    if (change.kind === 'remove' && entry === undefined) return 'missing';
    if (change.expect !== undefined && change.expect !== (entry?.revision ?? 0)) return 'conflict';
    if (change.kind === 'put' && entry === undefined && entries.size >= MOST_ENTRIES) return 'full';
    this.#space.version += 1;
    this.#noteChange(change.id);
    if (change.kind === 'remove') {
      entries.delete(change.id);
      for (const [request, id] of requests) if (id === change.id) requests.delete(request);
      return 'done';
    }
    const { id, definition, paused } = change;
    entries.set(id, { id, definition, paused, revision: this.#space.version, seq: entry?.seq ?? 0, state: entry?.state ?? null });
    return 'done';
  }

  #noteChange(id: string): void {
    const { changes } = this.#space;
    changes.delete(id);
    changes.set(id, this.#space.version);
    if (changes.size <= MOST_CHANGES) return;
    const [oldest, version] = changes.entries().next().value as [string, number];
    changes.delete(oldest);
    this.#space.horizon = version;
  }

  #setLead(lead: Lead): void {
    this.#space.lead = lead;
    this.#tell((listener) => listener.onLead(lead));
  }

  /** Later, as from another process. */
  #tell(call: (listener: BeatListener) => void): void {
    for (const listener of this.#space.listeners)
      queueMicrotask(() => {
        if (this.#space.listeners.has(listener)) call(listener);
      });
  }
}
