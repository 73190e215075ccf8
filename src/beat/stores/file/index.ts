/**
 * Schedules in the embedded file: in the tables of the file broker, so that a decision and the message that it sends are one transaction.
 * Who leads stands in the file, that it lives is told by a side file (`signs.ts`): a leader without anything due writes no row.
 */

import type { OutgoingMessage } from '../../../brokers/broker.js';
import type { NewRow } from '../../../brokers/file/call-types.js';
import { rankOf } from '../../../brokers/file/rank.js';
import { encodeBody, encodeHead } from '../../../brokers/file/row-message.js';
import { parseFileUrl } from '../../../clients/sqlite/location.js';
import type { CallMode } from '../../../clients/sqlite/operations.js';
import { FileSession } from '../../../clients/sqlite/session.js';
import type {
  BeatListener,
  BeatStore,
  BeatStoreOptions,
  ChangeAnswer,
  EntryChange,
  EntryNews,
  EntryRecord,
  EntrySnapshot,
  FireAnswer,
  Firing,
  Lead,
} from '../../beat-store.js';
import { assertOpen } from '../../from-url.js';
import { beatOperations, type FileFiring } from './operations.js';
import { Signs } from './signs.js';

/** Changes in one transaction: others want to write too. */
const CHUNK = 500;
const APART = 'the broker is another one than the file that keeps the schedules';

/** Opens the schedules of this file; the file itself is opened by `connect` or the first use. @throws ConfigError */
export function openFileBeat(options: BeatStoreOptions): BeatStore {
  return new FileBeat(options);
}

function isSameFile(url: string, brokerUrl: string): boolean {
  return /^file:/i.test(brokerUrl) && parseFileUrl(url).path === parseFileUrl(brokerUrl).path;
}

class FileBeat implements BeatStore {
  readonly name = 'file';
  readonly handsOver: true | string;
  readonly #app: string;
  readonly #session: FileSession;
  readonly #signs: Signs;
  readonly #ends = new Set<() => void>();
  #closed = false;

  constructor({ url, app, logger, brokerUrl }: BeatStoreOptions) {
    this.#app = app;
    this.handsOver = isSameFile(url, brokerUrl) || APART;
    this.#session = new FileSession({ url, logger, role: 'client' }, beatOperations);
    this.#signs = new Signs(this.#session.location.path, app, logger);
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    assertOpen(this.#closed);
    await this.#session.open(timeoutMs);
  }

  load(): Promise<EntrySnapshot> {
    return this.#call('load', null, 'read');
  }

  get(id: string): Promise<EntryRecord | null> {
    return this.#call('get', id, 'read');
  }

  changesSince(version: number): Promise<EntryNews | null> {
    return this.#call('changesSince', version, 'read');
  }

  async change(changes: readonly EntryChange[]): Promise<readonly ChangeAnswer[]> {
    const answers: ChangeAnswer[] = [];
    for (let from = 0; from < changes.length; from += CHUNK) {
      const part = changes.slice(from, from + CHUNK);
      answers.push(...(await this.#call<ChangeAnswer[]>('change', part, 'durable', part.length)));
    }
    if (answers.includes('done')) this.#signs.showNews();
    return answers;
  }

  async fire(epoch: number, firings: readonly Firing[]): Promise<readonly FireAnswer[] | null> {
    const rows = firings.map(
      ({ messages, ...rest }): FileFiring => ({ ...rest, rows: messages.map((message) => rowOf(message)) }),
    );
    return this.#call<FireAnswer[] | null>('fire', { epoch, firings: rows }, 'durable', firings.length);
  }

  lead(): Promise<Lead> {
    return this.#call('lead', null, 'read');
  }

  async takeLead(owner: string, seenEpoch: number): Promise<Lead> {
    const lead = await this.#call<Lead>('takeLead', { owner, epoch: seenEpoch }, 'durable');
    if (lead.owner === owner && lead.epoch === seenEpoch + 1) this.#signs.showLead(lead);
    return lead;
  }

  async resign(lead: Lead): Promise<void> {
    if (await this.#call<boolean>('resign', lead, 'durable')) this.#signs.showLead({ owner: null, epoch: lead.epoch });
  }

  async beat(lead: Lead): Promise<void> {
    assertOpen(this.#closed);
    this.#signs.showLead(lead);
  }

  async listen(listener: BeatListener): Promise<() => Promise<void>> {
    assertOpen(this.#closed);
    // opens the file, in a folder that the signs then have
    await this.#session.open();
    const end = this.#signs.watch(
      (lead) => listener.onLead(lead),
      () => listener.onChange(),
    );
    this.#ends.add(end);
    listener.onUp();
    return async () => {
      this.#ends.delete(end);
      end();
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const end of this.#ends) end();
    this.#ends.clear();
    await this.#session.close();
    this.#signs.close();
  }

  async #call<T>(name: string, value: unknown, mode: CallMode, weight = 1): Promise<T> {
    assertOpen(this.#closed);
    return this.#session.call<T>(name, { app: this.#app, value }, { mode, weight });
  }
}

/** A message with a time goes to its queue with its `eta` header: a worker defers it. */
function rowOf({ to, message, priority }: OutgoingMessage): NewRow {
  const rank = rankOf(priority ?? message.properties.priority);
  return [to.queue, rank, 0, encodeHead(message, priority), encodeBody(message.body)];
}
