/** A gateway for our own unit tests: remembers every call, confirms every message, and lets a test answer otherwise. */
import { App } from '../app/app.js';
import type { AppOptions } from '../app/config.js';
import type { Gateway } from '../app/gateway.js';
import { checkEntry } from '../beat/definition.js';
import type { Broadcast, OutgoingMessage, PublishOptions, PublishResult } from '../brokers/broker.js';
import type { Clock } from '../core/clock.js';
import { silentLogger } from '../core/logger.js';
import { openEvents } from '../events/receiver.js';
import type { HopelessPart, OpenChord } from '../results/chords.js';
import type { ResultWrite } from '../results/result-store.js';
import type { SavedCall } from '../results/saved-results.js';
import type { WireMessage } from '../wire/message.js';
import { decodeTaskBody } from '../wire/task-message.js';

/** One call of `publish`. */
export interface PublishCall {
  readonly messages: readonly OutgoingMessage[];
  readonly options: PublishOptions;
}

export class ScriptedGateway implements Gateway {
  readonly publishes: PublishCall[] = [];
  readonly forgotten: string[] = [];
  readonly broadcasts: Broadcast[] = [];
  onBroadcast: () => Promise<void> = async () => {};
  closed = false;
  replyTo: string | null = null;
  /** Stored metas by id. */
  readonly metas = new Map<string, string>();
  onPublish: (call: PublishCall) => Promise<readonly PublishResult[]> | readonly PublishResult[] = ({ messages }) =>
    messages.map(() => null);
  onPrepare: () => Promise<string | null> = async () => this.replyTo;
  onWait: (id: string, signal: AbortSignal, onUpdate?: (meta: string) => void) => Promise<string> = async (id) =>
    this.metas.get(id) ?? never();

  /** Every message of every publish, in order. */
  get sent(): readonly OutgoingMessage[] {
    return this.publishes.flatMap(({ messages }) => messages);
  }

  async publish(messages: readonly OutgoingMessage[], options: PublishOptions): Promise<readonly PublishResult[]> {
    const call = { messages, options };
    this.publishes.push(call);
    return this.onPublish(call);
  }

  prepareResults(): Promise<string | null> {
    return this.onPrepare();
  }

  async getResults(ids: readonly string[]): Promise<readonly (string | null)[]> {
    return ids.map((id) => this.metas.get(id) ?? null);
  }

  waitResult(id: string, signal: AbortSignal, onUpdate?: (meta: string) => void): Promise<string> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      this.onWait(id, signal, onUpdate).then(resolve, reject);
    });
  }

  async forgetResults(ids: readonly string[]): Promise<void> {
    this.forgotten.push(...ids);
    for (const id of ids) this.metas.delete(id);
  }

  /** What `withdraw` finds, by task id. */
  readonly waiting = new Map<string, WireMessage>();
  /** What was recorded, and for how long. */
  readonly recorded = new Map<string, number>();
  readonly stored: ResultWrite[] = [];
  hasRoom = true;

  async storeResults(writes: readonly ResultWrite[]): Promise<void> {
    this.stored.push(...writes);
  }

  /** What was saved, by id. */
  readonly saved = new Map<string, string>();

  async savedResults(call: SavedCall): Promise<readonly (string | null)[]> {
    if (call.kind === 'load') return call.ids.map((id) => this.saved.get(id) ?? null);
    if (call.kind === 'save') for (const { id, text } of call.saved) this.saved.set(id, text);
    else for (const id of call.ids) this.saved.delete(id);
    return [];
  }

  readonly openedChords: OpenChord[] = [];
  readonly givenUp: HopelessPart[] = [];

  async openChords(chords: readonly OpenChord[]): Promise<void> {
    this.openedChords.push(...chords);
  }

  async giveUpParts(parts: readonly HopelessPart[]): Promise<void> {
    this.givenUp.push(...parts);
  }

  async withdraw(ids: readonly string[]): Promise<ReadonlyMap<string, WireMessage>> {
    const found = new Map<string, WireMessage>();
    for (const id of ids) {
      const message = this.waiting.get(id);
      if (message) found.set(id, message);
      this.waiting.delete(id);
    }
    return found;
  }

  async recordRevoked(ids: readonly string[], ttlMs: number): Promise<readonly boolean[]> {
    if (this.hasRoom) for (const id of ids) this.recorded.set(id, ttlMs);
    return ids.map(() => this.hasRoom);
  }

  async broadcast(broadcast: Broadcast): Promise<void> {
    this.broadcasts.push(broadcast);
    await this.onBroadcast();
  }

  async broker(): Promise<never> {
    throw new Error('no broker here');
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

function never(): Promise<never> {
  return new Promise(() => {});
}

/** Arguments and keywords of a message. */
export function argumentsOf(outgoing: OutgoingMessage | undefined): {
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
} {
  if (outgoing === undefined) throw new Error('no such message was sent');
  const { args, kwargs } = decodeTaskBody(outgoing.message);
  return { args, kwargs };
}

/** An app on a scripted gateway; it opens nothing, so it needs no closing. */
export function scriptedApp(options: AppOptions = {}, clock?: Clock): { readonly app: App; readonly gateway: ScriptedGateway } {
  const app = new App(
    { broker: 'memory:unused', logger: silentLogger, ...options },
    {
      startWorker: () => Promise.reject(new Error('no worker here')),
      openEvents,
      checkSchedule: checkEntry,
      createControl: () => {
        throw new Error('no control here');
      },
    },
  );
  const gateway = new ScriptedGateway();
  app.attachGateway(gateway, clock);
  return { app, gateway };
}

/** The error of something that must not succeed. */
export async function refusal(work: () => unknown): Promise<Error & { readonly code?: string }> {
  try {
    await work();
  } catch (error) {
    return error as Error;
  }
  throw new Error('it was accepted');
}
