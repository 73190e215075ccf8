/**
 * Schedules on RabbitMQ alone, without a store: entries of the code, a leader that is the single active consumer of a queue, and one
 * message in that queue which says what was decided. Tasks are published on the leader's own connection and confirmed before the decision
 * is noted: when the connection ends, lead and sending end with it, and what was sent but not noted is sent once more under its id.
 *
 * Next stops: `lead-queue.ts` who leads and where the note lies, `cursors.ts` what it says; publishing is `brokers/rabbitmq/publish.ts`.
 */
import type { OutgoingMessage } from '../../../brokers/broker.js';
import { NO_QUEUE_TABLE } from '../../../brokers/queue-table.js';
import { DeclaredQueues } from '../../../brokers/rabbitmq/declared.js';
import { QueuePublisher } from '../../../brokers/rabbitmq/publish.js';
import { Topology } from '../../../brokers/rabbitmq/topology.js';
import { AmqpLink } from '../../../clients/amqp.js';
import { ConfirmPublisher } from '../../../clients/amqp-publisher.js';
import { SetupChannel } from '../../../clients/amqp-setup.js';
import { parseAmqpUrl, withHeartbeat } from '../../../clients/amqp-url.js';
import { BrokerError, ConfigError, toError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
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
import {
  adopt,
  afterDecision,
  type Cursor,
  type Cursors,
  decodeCursors,
  encodeCursors,
  leadQueueOf,
  MOST_CODE_ENTRIES,
  NO_CURSORS,
  newestOf,
} from './cursors.js';
import { LeadQueue } from './lead-queue.js';

const CODE_ONLY = `RabbitMQ alone keeps schedules of the code only, at most ${MOST_CODE_ENTRIES}, and nothing of how runs end. Write them with app.schedule(), or give schedulers, workers and commands one place for results: --results (LOVAGE_RESULT_URL) redis://, postgresql:// or file:PATH`;
/** The broker closes a connection that has been silent for two to three of these. */
const HEARTBEAT_S = 1;
const DECLARE_MS = 10_000;
const PUBLISH_MS = 5_000;
/** The note is held unacknowledged, and the broker closes the channel of who holds one for longer than its `consumer_timeout`. */
const LONGEST_HELD_MS = 600_000;
const HELD_SHARE = 3;

/** @throws ConfigError `E_CONFIG_URL` */
export function openRabbitmqBeat(options: BeatStoreOptions): BeatStore {
  return new RabbitmqBeat(options);
}

class RabbitmqBeat implements BeatStore {
  readonly name = 'rabbitmq';
  readonly handsOver =
    'RabbitMQ takes tasks and what was decided one after the other: between the two a slot may be sent again under its id';
  readonly publishes = true;
  readonly codeOnly = CODE_ONLY;
  readonly #logger: Logger;
  readonly #link: AmqpLink;
  readonly #publisher: ConfirmPublisher;
  readonly #queues: QueuePublisher;
  readonly #leadQueue: LeadQueue;
  readonly #listeners = new Set<BeatListener>();
  readonly #heldMs: number;
  /** Of the code of this process. */
  readonly #entries = new Map<string, EntryRecord>();
  #revision = 0;
  /** The last note that we know of, our own or that of who led before us. */
  #noted: Cursors = NO_CURSORS;
  #lead: Lead = { owner: null, epoch: 0 };
  /** While we are the active consumer; its end takes back what is not written yet. */
  #term: AbortController | null = null;
  #isWaiting = false;
  #tail: Promise<unknown> = Promise.resolve();
  #refresh: NodeJS.Timeout | undefined;
  #closed = false;

  constructor({ url, app, logger, queues }: BeatStoreOptions) {
    const target = withHeartbeat(parseAmqpUrl(url), HEARTBEAT_S);
    const { options } = target;
    this.#logger = logger;
    this.#heldMs = Math.min(LONGEST_HELD_MS, options.consumerTimeoutMs / HELD_SHARE);
    this.#link = new AmqpLink(target, 'lovage beat', logger);
    const setup = new SetupChannel(this.#link);
    const topology = new Topology(
      () => setup,
      new SetupChannel(this.#link),
      new DeclaredQueues(queues ?? NO_QUEUE_TABLE, options),
      logger,
    );
    this.#link.listen({ onUp: () => undefined, onDown: () => topology.forget() });
    this.#publisher = new ConfirmPublisher(this.#link);
    this.#queues = new QueuePublisher(this.#publisher, topology);
    this.#leadQueue = new LeadQueue({
      ...{ link: this.#link, setup, queue: leadQueueOf(app), logger },
      onWaiting: () => {
        this.#isWaiting = true;
        for (const listener of this.#listeners) listener.onUp();
      },
      onActive: (notes) => this.#begin(notes),
      onOther: (lead) => {
        if (this.#term === null) this.#setLead({ owner: lead.owner, epoch: Math.max(lead.epoch, this.#lead.epoch) });
      },
      onDown: (cause) => this.#end(cause),
    });
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    assertOpen(this.#closed);
    await this.#link.connected(timeoutMs);
    await this.#leadQueue.declare(DECLARE_MS);
  }

  async load(): Promise<EntrySnapshot> {
    assertOpen(this.#closed);
    return { version: this.#revision, entries: [...this.#entries.values()], requests: [] };
  }

  async get(id: string): Promise<EntryRecord | null> {
    assertOpen(this.#closed);
    return this.#entries.get(id) ?? null;
  }

  /** The code of a running process does not change. */
  async changesSince(version: number): Promise<EntryNews | null> {
    assertOpen(this.#closed);
    return version === this.#revision ? { version, entries: [], removed: [], requests: [] } : null;
  }

  /** What `reconcile.ts` found in the code of this process. @throws ConfigError `E_CONFIG_CONFLICT` for what people want */
  async change(changes: readonly EntryChange[]): Promise<readonly ChangeAnswer[]> {
    assertOpen(this.#closed);
    return changes.map((change): ChangeAnswer => {
      const { id } = change;
      if (change.kind === 'run') throw new ConfigError('E_CONFIG_CONFLICT', CODE_ONLY);
      const before = this.#entries.get(id);
      if (change.expect !== undefined && change.expect !== (before?.revision ?? 0)) return 'conflict';
      if (change.kind === 'remove') return this.#entries.delete(id) ? 'done' : 'missing';
      if (before === undefined && this.#entries.size >= MOST_CODE_ENTRIES) return 'full';
      const { definition, paused } = change;
      this.#revision += 1;
      const { seq, state } = before ?? { seq: 0, state: null };
      this.#entries.set(id, { id, definition, paused, revision: this.#revision, seq, state });
      return 'done';
    });
  }

  async fire(epoch: number, firings: readonly Firing[]): Promise<readonly FireAnswer[] | null> {
    assertOpen(this.#closed);
    return this.#inTurn(async () => {
      const term = this.#term;
      if (term === null || this.#lead.owner === null || this.#lead.epoch !== epoch) return null;
      const cursors = new Map(this.#noted.entries);
      const messages: OutgoingMessage[] = [];
      const taken: Firing[] = [];
      const answers = firings.map((firing): FireAnswer => {
        const entry = this.#entries.get(firing.id);
        const cursor = cursors.get(firing.id);
        if (entry?.revision !== firing.revision || cursor?.seq !== firing.seq) return 'stale';
        cursors.set(firing.id, afterDecision(cursor, firing.state));
        messages.push(...firing.messages);
        taken.push(firing);
        return 'done';
      });
      if (taken.length === 0) return answers;
      if (!(await this.#publish(messages, term.signal))) return null;
      await this.#write(epoch, cursors);
      if (term.signal.aborted) return null;
      for (const { id, seq, state } of taken) {
        const entry = this.#entries.get(id) as EntryRecord;
        this.#entries.set(id, { ...entry, seq: seq + 1, state });
      }
      return answers;
    });
  }

  async lead(): Promise<Lead> {
    assertOpen(this.#closed);
    return this.#lead;
  }

  async takeLead(owner: string, seenEpoch: number): Promise<Lead> {
    assertOpen(this.#closed);
    return this.#inTurn(async () => {
      const term = this.#term;
      if (term === null || this.#lead.owner !== null || this.#lead.epoch !== seenEpoch) return this.#lead;
      const lead = { owner, epoch: seenEpoch + 1 };
      await this.#write(lead.epoch, this.#noted.entries);
      if (term.signal.aborted) return this.#lead;
      this.#lead = lead;
      this.#leadQueue.tell(lead);
      return lead;
    });
  }

  /** Leaves the queue for good: a scheduler resigns when it stops. */
  async resign({ owner, epoch }: Lead): Promise<void> {
    assertOpen(this.#closed);
    if (this.#term === null || this.#lead.owner !== owner || this.#lead.epoch !== epoch) return;
    await this.#inTurn(async () => this.#leave());
  }

  /** The heartbeats of the connection are the sign of life. */
  async beat(): Promise<void> {
    assertOpen(this.#closed);
  }

  async listen(listener: BeatListener): Promise<() => Promise<void>> {
    assertOpen(this.#closed);
    this.#listeners.add(listener);
    if (this.#isWaiting) listener.onUp();
    this.#leadQueue.start();
    return async () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.clear();
    await this.#leave();
    await this.#publisher.close();
    await this.#link.close();
  }

  async #leave(): Promise<void> {
    this.#end(new BrokerError('E_CLOSED', 'this scheduler has left'));
    await this.#leadQueue.close();
  }

  /** All that was noted is known, and nobody else can note anything. */
  #begin(notes: readonly string[]): void {
    const read = notes.map(decodeCursors);
    if (read.includes(null))
      this.#logger.error(
        {},
        'beat: a note of what was decided cannot be read; entries of which nothing else is known count from now on',
      );
    // Our own memory counts where the queue was deleted.
    const newest = newestOf([this.#noted, ...read.filter((one) => one !== null)]);
    const { records, cursors } = adopt([...this.#entries.values()], newest.entries, Date.now());
    for (const record of records) this.#entries.set(record.id, record);
    this.#noted = { ...newest, entries: cursors };
    this.#term = new AbortController();
    this.#setLead({ owner: null, epoch: Math.max(newest.epoch, this.#lead.epoch) });
  }

  #end(cause: Error): void {
    clearTimeout(this.#refresh);
    const wasWaiting = this.#isWaiting;
    this.#isWaiting = false;
    // What the publisher would write again on the next connection must never be sent: somebody else leads by then.
    this.#term?.abort(cause);
    this.#term = null;
    if (wasWaiting) for (const listener of this.#listeners) listener.onDown(cause);
    this.#setLead({ owner: null, epoch: this.#lead.epoch });
  }

  #setLead(lead: Lead): void {
    this.#lead = lead;
    for (const listener of this.#listeners) listener.onLead(lead);
  }

  /** `false`: the lead has ended. @throws PublishError, and then nothing is noted */
  async #publish(messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<boolean> {
    if (messages.length > 0)
      for (const failure of await this.#queues.publish(messages, { timeoutMs: PUBLISH_MS, signal }))
        if (failure !== null && !signal.aborted) throw failure;
    return !signal.aborted;
  }

  async #write(epoch: number, entries: ReadonlyMap<string, Cursor>): Promise<void> {
    const { blocked } = this.#link;
    if (blocked !== null) throw new BrokerError('E_BROKER_FULL', `the broker takes no messages (${blocked})`);
    const note = { epoch, number: this.#noted.epoch === epoch ? this.#noted.number + 1 : 1, entries };
    await this.#leadQueue.write(encodeCursors(note));
    if (this.#term === null) return;
    this.#noted = note;
    clearTimeout(this.#refresh);
    this.#refresh = setTimeout(() => void this.#again(epoch), this.#heldMs);
  }

  /** The same once more, before the broker takes offence at how long it is held. */
  async #again(epoch: number): Promise<void> {
    try {
      await this.#inTurn(async () => {
        if (this.#term !== null && this.#lead.epoch === epoch) await this.#write(epoch, this.#noted.entries);
      });
    } catch (error) {
      this.#logger.debug({ cause: toError(error).message }, 'beat: what was decided was not written anew');
      if (this.#term !== null) this.#refresh = setTimeout(() => void this.#again(epoch), this.#heldMs);
    }
  }

  /** One step after the other: an older note must never follow a newer one. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(step);
    this.#tail = turn.catch(() => undefined);
    return turn;
  }
}
