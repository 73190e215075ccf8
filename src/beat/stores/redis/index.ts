/**
 * Schedules in Redis. Beside a broker of the same URL a decision and the messages that it sends are one script. One connection for
 * commands; a second one for those who listen. That a leader lives is told by PUBLISH, so nothing in Redis expires and no clock counts.
 */
import type { OutgoingMessage } from '../../../brokers/broker.js';
import { NO_QUEUE_TABLE, type QueueTable } from '../../../brokers/queue-table.js';
import { checkQueueName, queueBinding } from '../../../brokers/redis/keys.js';
import { place } from '../../../brokers/redis/place.js';
import { RedisConnection, RedisLinkError, type RedisReply, type RedisScript, redisErrorCode } from '../../../clients/redis.js';
import { loadLibrary } from '../../../clients/redis-library.js';
import { parseRedisUrl } from '../../../clients/redis-url.js';
import { BrokerError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
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
import { changeScript, fireScript, leadScript, newsScript } from './scripts.js';

const REACH_MS = 5_000;
/** With `wait_replicas`: how long one WAIT may hold up the connection. Signs of life stand behind it, and a lease is much longer. */
const WAIT_MS = 500;
/** A leader finds a dead connection by its own signs of life; this is how a standby finds one. */
const LISTENING_BEAT_MS = 15_000;
/** Changes or decisions in one script: a longer one keeps other clients waiting. */
const CHUNK = 200;
/** Entries in one answer while all are read. */
const SCAN_PAGE = 1_000;
const APART = 'the broker is another one than the Redis that keeps the schedules';

/** Opens the schedules at this URL; connects at the first use. @throws ConfigError `E_CONFIG_URL`, `E_DRIVER_MISSING` */
export async function openRedisBeat(options: BeatStoreOptions): Promise<BeatStore> {
  await loadLibrary();
  return new RedisBeat(options);
}

class RedisBeat implements BeatStore {
  readonly name = 'redis';
  readonly handsOver: true | string;
  readonly #commands: RedisConnection;
  readonly #prefix: string;
  readonly #keys: Record<'entries' | 'states' | 'changes' | 'requests' | 'lead', string>;
  readonly #channel: string;
  readonly #queues: QueueTable;
  readonly #logger: Logger;
  readonly #listening = new Set<RedisConnection>();
  #closed = false;

  constructor({ url, app, logger, brokerUrl, queues = NO_QUEUE_TABLE }: BeatStoreOptions) {
    const target = parseRedisUrl(url);
    this.handsOver = url === brokerUrl || APART;
    this.#logger = logger;
    this.#queues = queues;
    this.#prefix = target.prefix;
    const base = `${target.prefix}lovage:beat:${app}:`;
    this.#keys = {
      entries: `${base}entries`,
      states: `${base}states`,
      changes: `${base}changes`,
      requests: `${base}requests`,
      lead: `${base}lead`,
    };
    this.#channel = `${target.prefix}/${target.db}.lovage.beat.${app}`;
    this.#commands = new RedisConnection({ target, logger, name: 'lovage:beat' });
  }

  async connect({ timeoutMs }: { readonly timeoutMs: number }): Promise<void> {
    assertOpen(this.#closed);
    await this.#commands.whenReady(timeoutMs);
  }

  async load(): Promise<EntrySnapshot> {
    // The version first: what is changed while the rest is read is read again as news.
    const version = Number(((await this.#call('hget', [this.#keys.lead, 'version'])) as Buffer | null)?.toString() ?? 0);
    const wanted = await this.#all(this.#keys.requests);
    const requests = [...wanted].map(([id, entry]): RunRequest => ({ id, entry }));
    const texts = await this.#all(this.#keys.entries);
    const ids = [...texts.keys()];
    const entries: EntryRecord[] = [];
    for (let from = 0; from < ids.length; from += SCAN_PAGE) {
      const part = ids.slice(from, from + SCAN_PAGE);
      const states = (await this.#call('hmget', [this.#keys.states, ...part])) as (Buffer | null)[];
      part.forEach((id, index) => entries.push(recordOf(id, texts.get(id) as string, states[index]?.toString() ?? null)));
    }
    return { version, entries, requests };
  }

  async get(id: string): Promise<EntryRecord | null> {
    const entry = (await this.#call('hget', [this.#keys.entries, id])) as Buffer | null;
    if (entry === null) return null;
    const state = (await this.#call('hget', [this.#keys.states, id])) as Buffer | null;
    return recordOf(id, entry.toString(), state?.toString() ?? null);
  }

  async changesSince(since: number): Promise<EntryNews | null> {
    const { entries: all, states, changes, requests, lead } = this.#keys;
    const reply = await this.#run(newsScript, [all, states, changes, requests, lead], [String(since)]);
    if (!Array.isArray(reply)) return null;
    const [version, wanted, ...rows] = reply;
    const entries: EntryRecord[] = [];
    const removed: string[] = [];
    for (let at = 0; at < rows.length; at += 3) {
      const [id, entry, state] = rows.slice(at, at + 3) as [Buffer, Buffer | null, Buffer | null];
      if (entry === null) removed.push(id.toString());
      else entries.push(recordOf(id.toString(), entry.toString(), state?.toString() ?? null));
    }
    return { version: Number(version), entries, removed, requests: requestsIn(wanted as Buffer[]) };
  }

  async change(changes: readonly EntryChange[]): Promise<readonly ChangeAnswer[]> {
    const { entries, states, changes: log, requests, lead } = this.#keys;
    const answers: ChangeAnswer[] = [];
    const connections = new Set<number>();
    for (let from = 0; from < changes.length; from += CHUNK) {
      const args = [this.#channel, String(MOST_ENTRIES), String(MOST_REQUESTS), String(MOST_CHANGES)];
      for (const change of changes.slice(from, from + CHUNK)) {
        const expect = change.kind === 'run' || change.expect === undefined ? '' : String(change.expect);
        const text = change.kind === 'put' ? change.definition : change.kind === 'run' ? change.request : '';
        args.push(change.kind, change.id, expect, text, change.kind === 'put' && change.paused ? 'p' : '-');
      }
      const reply = (await this.#run(changeScript, [entries, states, log, requests, lead], args, connections)) as Buffer[];
      answers.push(...reply.map((answer) => answer.toString() as ChangeAnswer));
    }
    if (answers.includes('done')) await this.#replicated(connections);
    return answers;
  }

  async fire(epoch: number, firings: readonly Firing[]): Promise<readonly FireAnswer[] | null> {
    const answers: FireAnswer[] = [];
    const connections = new Set<number>();
    for (let from = 0; from < firings.length; from += CHUNK) {
      const { entries, states, requests, lead } = this.#keys;
      const keys = [entries, states, requests, lead];
      const args = [String(epoch)];
      for (const { id, revision, seq, state, request, messages } of firings.slice(from, from + CHUNK)) {
        args.push(id, String(revision), String(seq), state, request ?? '', String(messages.length));
        for (const message of messages) {
          const { list, binding, envelope } = this.#place(message);
          args.push(String(keys.length + 1), binding[1], envelope);
          keys.push(binding[0], this.#prefix + list);
        }
      }
      const reply = await this.#run(fireScript, keys, args, connections);
      if (!Array.isArray(reply)) return null;
      for (const answer of reply) answers.push(answer === 1 ? 'done' : 'stale');
    }
    if (answers.includes('done')) await this.#replicated(connections);
    return answers;
  }

  async lead(): Promise<Lead> {
    const [owner, epoch] = (await this.#call('hmget', [this.#keys.lead, 'owner', 'epoch'])) as (Buffer | null)[];
    return { owner: owner?.toString() || null, epoch: Number(epoch?.toString() ?? 0) };
  }

  async takeLead(owner: string, seenEpoch: number): Promise<Lead> {
    return this.#lead([String(seenEpoch), owner, '']);
  }

  async resign({ owner, epoch }: Lead): Promise<void> {
    if (owner !== null) await this.#lead([String(epoch), '', owner]);
  }

  async beat({ owner, epoch }: Lead): Promise<void> {
    assertOpen(this.#closed);
    // at once or not at all: an old sign of life is none
    await this.#commands.call('publish', [this.#channel, `lead ${epoch} ${owner ?? ''}`]);
  }

  async listen(listener: BeatListener): Promise<() => Promise<void>> {
    assertOpen(this.#closed);
    const connection = new RedisConnection({
      target: this.#commands.target,
      logger: this.#logger,
      name: 'lovage:beat-listening',
      heartbeatMs: () => LISTENING_BEAT_MS,
      setup: async (link) => {
        await link.call('subscribe', [this.#channel]);
      },
      onReady: () => listener.onUp(),
      onLost: (cause) => listener.onDown(cause),
      onMessage: (_, payload) => {
        const text = String(payload);
        const lead = /^lead (\d+) ?(.*)$/.exec(text);
        if (lead) listener.onLead({ owner: lead[2] || null, epoch: Number(lead[1]) });
        else listener.onChange();
      },
    });
    this.#listening.add(connection);
    connection.open();
    return async () => {
      this.#listening.delete(connection);
      await connection.close();
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([...this.#listening, this.#commands].map((connection) => connection.close()));
  }

  #place(message: OutgoingMessage): { list: string; envelope: string; binding: readonly [string, string] } {
    const { list, envelope } = place(message, { plan: checkQueueName });
    // As the broker binds it: a topic's binding without its pattern would make kombu send that queue everything.
    return { list, envelope, binding: queueBinding(this.#prefix, message.to.queue, this.#queues) };
  }

  async #lead(args: readonly string[]): Promise<Lead> {
    const [owner, epoch] = (await this.#run(leadScript, [this.#keys.lead], [this.#channel, ...args])) as [Buffer, number];
    return { owner: owner.toString() || null, epoch };
  }

  /** A hash, page by page. */
  async #all(key: string): Promise<Map<string, string>> {
    const fields = new Map<string, string>();
    for (let cursor = '0', first = true; first || cursor !== '0'; first = false) {
      const [next, page] = (await this.#call('hscan', [key, cursor, 'COUNT', String(SCAN_PAGE)])) as [Buffer, Buffer[]];
      cursor = next.toString();
      for (let at = 0; at < page.length; at += 2) fields.set(String(page[at]), String(page[at + 1]));
    }
    return fields;
  }

  /**
   * With `wait_replicas`: resolves once so many replicas have what was written on these connections. Without it a fail-over could take away a
   * run that the leader holds for sent, and nobody would look again before its next slot.
   * @throws BrokerError when too few have it in time or the connection is lost: what was written is looked up again
   */
  async #replicated(connections: ReadonlySet<number>): Promise<void> {
    const { waitReplicas, label } = this.#commands.target;
    if (waitReplicas === 0) return;
    const endMs = performance.now() + REACH_MS;
    for (let had = 0; had < waitReplicas; ) {
      // A WAIT speaks of what its own connection wrote.
      if (connections.size > 1 || !connections.has(this.#commands.epoch))
        throw new BrokerError('E_CONNECTION_LOST', `the connection to ${label} was lost before its replicas had it`);
      if (performance.now() > endMs)
        throw new BrokerError('E_PUBLISH_TIMEOUT', `${label} has it, but ${had} of ${waitReplicas} replicas`);
      had = (await this.#commands.call('wait', [String(waitReplicas), String(WAIT_MS)])) as number;
    }
  }

  async #call(name: string, args: readonly string[]): Promise<RedisReply> {
    return this.#answered(() => this.#commands.call(name, args));
  }

  /**
   * Every script may be repeated: what it would do twice is held off by epochs, revisions and numbers.
   * @param connections is told on which one it ran
   */
  async #run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly string[],
    connections?: Set<number>,
  ): Promise<RedisReply> {
    return this.#answered(() => {
      connections?.add(this.#commands.epoch);
      return this.#commands.run(script, [script.sha, String(keys.length), ...keys, ...args]);
    });
  }

  async #answered(step: () => Promise<RedisReply>): Promise<RedisReply> {
    assertOpen(this.#closed);
    try {
      await this.#commands.whenReady(REACH_MS);
      return await step();
    } catch (error) {
      // Not sent: nothing was done, so trying once more repeats nothing.
      if (error instanceof RedisLinkError && !error.sent) {
        await this.#commands.whenReady(REACH_MS);
        return step();
      }
      if (redisErrorCode(error) !== 'OOM') throw error;
      const message = `${this.#commands.target.label} has no memory left for schedules: raise maxmemory`;
      throw new BrokerError('E_BROKER_FULL', message, { cause: error });
    }
  }
}

function requestsIn(flat: readonly Buffer[]): RunRequest[] {
  const requests: RunRequest[] = [];
  for (let at = 0; at < flat.length; at += 2) requests.push({ id: String(flat[at]), entry: String(flat[at + 1]) });
  return requests;
}

function recordOf(id: string, entry: string, state: string | null): EntryRecord {
  const revision = /^\d+/.exec(entry)?.[0] ?? '0';
  const seq = state === null ? '0' : (/^\d+/.exec(state)?.[0] ?? '0');
  return {
    id,
    revision: Number(revision),
    paused: entry[revision.length] === 'p',
    definition: entry.slice(revision.length + 1),
    seq: Number(seq),
    state: state === null ? null : state.slice(seq.length + 1),
  };
}
