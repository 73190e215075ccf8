/**
 * Signatures as callers make them: a task call that is not made yet, and chains of such. What is sent for them is planned in
 * `canvas/`; how it gets out is `publish.ts`.
 */
import { randomUUID } from 'node:crypto';
import { type FreezeContext, freeze, unkeptIn } from '../../canvas/freeze.js';
import { resultTreeOf } from '../../canvas/lineage.js';
import { type Outcomes, settlingAll } from '../../canvas/outcomes.js';
import { type CanvasMessage, outgoingOf } from '../../canvas/outgoing.js';
import { emptyPlan, start } from '../../canvas/plan.js';
import { type CanvasFacts, canvasSettings } from '../../canvas/routes.js';
import { kindOf, makeChain, makeChord, makeGroup } from '../../canvas/shapes.js';
import { durationMs } from '../../core/duration.js';
import { ArgumentError, ConfigError } from '../../core/errors.js';
import { type OpenChord, opening } from '../../results/chords.js';
import type { ResultTree } from '../../wire/result-tree.js';
import { encodeJson } from '../../wire/serializers/json.js';
import { makeSignature, parseSignatures, type WireSignature } from '../../wire/signature.js';
import { checkKeys, checkObject } from '../config-schema.js';
import type { ResolvedMiddleware } from '../middleware.js';
import { ORIGIN, type PreparedCall, type Publisher } from '../publish.js';
import { activeRun } from '../task-context.js';
import type { Eventually } from '../validate.js';
import { throughPublishHooks } from './canvas-hooks.js';
import type { GroupHandle } from './group-handle.js';
import { nameOf, readSignature, writeSignature } from './read-signature.js';
import { sendPlanned } from './send-planned.js';
import { callOnWire, carriedOptions, overFirst, withOptions } from './signature-options.js';
import type {
  AnySignature,
  ChainOf,
  ChordOptions,
  GroupOf,
  Joined,
  Joint,
  SendOptions,
  Signature,
  SignatureOptions,
} from './signature-types.js';
import { resolveStamps, stamped } from './stamps.js';

/** What signatures need of their app. */
export interface SignatureHost {
  readonly publisher: Publisher;
  readonly sendTimeoutMs: number;
  readonly publishHooks: ResolvedMiddleware['publish'];
  /** Of the moment: tasks may be defined later. */
  canvasFacts(): CanvasFacts;
  nowMs(): number;
  readonly resultTtlMs: number | null;
  openChords(chords: readonly OpenChord[]): Promise<void>;
  /** Of what was sent, or of a group of it. `unkept`: whose results nobody keeps. */
  handles(tree: ResultTree, unkept: readonly string[]): unknown;
}

const CHORD_KEYS: ReadonlySet<string> = new Set(['settle']);
const SEND_KEYS: ReadonlySet<string> = new Set(['timeout', 'signal']);

/** Arguments that can be checked before they are sent; what it returns is only awaited. */
export type Check = () => Eventually<unknown>;

export class CanvasSignature {
  readonly name: string;
  readonly #host: SignatureHost;
  readonly #wire: WireSignature;
  readonly #checks: readonly Check[];
  /** It misses its first argument. */
  readonly #isOpen: boolean;

  constructor(host: SignatureHost, name: string, wire: WireSignature, checks: readonly Check[], isOpen: boolean) {
    this.name = name;
    this.#host = host;
    this.#wire = wire;
    this.#checks = checks;
    this.#isOpen = isOpen;
  }

  static group(members: readonly CanvasSignature[], host: SignatureHost): CanvasSignature {
    const tasks = members.map((member) => member.#wire);
    const checks = members.flatMap((member) => member.#checks);
    return new CanvasSignature(
      host,
      'celery.group',
      makeGroup(tasks),
      checks,
      members.some((member) => member.#isOpen),
    );
  }

  static chord(header: CanvasSignature, body: CanvasSignature, settle: 'all' | undefined): CanvasSignature {
    const checks = [...header.#checks, ...body.#checks];
    const wire = makeChord(header.#wire, body.#wire);
    return new CanvasSignature(header.#host, body.name, settle ? settlingAll(wire) : wire, checks, header.#isOpen);
  }

  /** From Celery's dict form, or another signature. @throws WireError `E_DECODE`; ArgumentError `E_NOT_SERIALISABLE` */
  static read(host: SignatureHost, given: unknown): CanvasSignature {
    if (given instanceof CanvasSignature) return new CanvasSignature(host, given.name, given.#wire, given.#checks, given.#isOpen);
    const wire = readSignature(given);
    return new CanvasSignature(host, nameOf(wire), wire, [], false);
  }

  static hostOf(signature: CanvasSignature): SignatureHost {
    return signature.#host;
  }

  /** What a scheduler needs of one that misses nothing. @throws ConfigError `E_CONFIG_TYPE`; ArgumentError `E_ARGUMENTS` */
  static closed(signature: unknown, what: string): { readonly wire: WireSignature; readonly checks: readonly Check[] } {
    checkSignature(signature, what);
    const { name } = signature;
    if (signature.#isOpen)
      throw new ArgumentError('E_ARGUMENTS', `${what}: ${name} still waits for an argument: bind all of them with si()`);
    return { wire: signature.#wire, checks: signature.#checks };
  }

  static chain(steps: readonly CanvasSignature[]): CanvasSignature {
    const [first] = steps;
    const last = steps.at(-1);
    if (first === undefined || last === undefined) throw new ConfigError('E_CONFIG_TYPE', 'chain() takes at least one signature');
    const tasks = steps.map((step) => step.#wire);
    const checks = steps.flatMap((step) => step.#checks);
    return new CanvasSignature(first.#host, last.name, makeChain(tasks), checks, first.#isOpen);
  }

  with(options: SignatureOptions): CanvasSignature {
    const what = `signature of ${this.name}: with()`;
    const given = carriedOptions(options, what, this.#host.canvasFacts().lowerIsSooner);
    if (given.task_id !== undefined && kindOf(this.#wire) !== 'task')
      throw new ConfigError(
        'E_CONFIG_CONFLICT',
        `${what}: an id is that of one task: give it to a task of the ${kindOf(this.#wire)}`,
      );
    const { stamps = {} } = options;
    return this.#changed(overFirst(stamped(this.#wire, resolveStamps(stamps, `${what}: stamps`)), given));
  }

  pipe(next: CanvasSignature): CanvasSignature {
    checkSignature(next, 'pipe()');
    return CanvasSignature.chain([this, next]);
  }

  link(callback: CanvasSignature): CanvasSignature {
    checkSignature(callback, 'link()');
    const link = [...parseSignatures(this.#wire.options.link), callback.#wire];
    return this.#changed(withOptions(this.#wire, { link }), callback.#checks);
  }

  onError(errback: CanvasSignature): CanvasSignature {
    checkSignature(errback, 'onError()');
    const link_error = [...parseSignatures(this.#wire.options.link_error), errback.#wire];
    return this.#changed(withOptions(this.#wire, { link_error }), errback.#checks);
  }

  clone(): CanvasSignature {
    return this.#changed(this.#wire);
  }

  toJSON(): WireSignature {
    return writeSignature(this.#wire);
  }

  async send(options: SendOptions = {}): Promise<unknown> {
    const what = `send() of a signature of ${this.name}`;
    checkObject(options, what);
    checkKeys(options, SEND_KEYS, what);
    if (this.#isOpen)
      throw new ArgumentError('E_ARGUMENTS', `${this.name} still waits for an argument: bind all of them with si()`);
    const timeoutMs = options.timeout === undefined ? this.#host.sendTimeoutMs : durationMs(options.timeout, `${what}: timeout`);
    for (const check of this.#checks) await check();
    const { publisher } = this.#host;
    const replyTo = await publisher.outbox.replyQueue(timeoutMs, options.signal);
    const context = { newId: randomUUID, replyTo };
    const frozen = freeze(this.#wire, context);
    const facts = this.#host.canvasFacts();
    const send = (whole: WireSignature): Promise<void> => this.#sendFrozen(whole, context, facts, { ...options, timeoutMs });
    const { publishHooks } = this.#host;
    await (publishHooks.length === 0 ? send(frozen) : throughPublishHooks(publishHooks, frozen, facts, send));
    return this.#host.handles(resultTreeOf(frozen), unkeptIn(frozen));
  }

  async #sendFrozen(
    frozen: WireSignature,
    context: FreezeContext,
    facts: CanvasFacts,
    { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    const plan = emptyPlan();
    start(frozen, { args: [], rest: null }, context, plan);
    const parent = activeRun.getStore()?.context ?? null;
    const settings = {
      ...canvasSettings(facts),
      ...{ nowMs: this.#host.nowMs(), origin: ORIGIN, parent, isRepeated: false },
    };
    const messages: CanvasMessage[] = plan.tasks.map((task) => outgoingOf(task, settings));
    const { resultTtlMs } = this.#host;
    const chords = plan.chords.map(({ body, ...chord }) =>
      opening({ ...chord, body: encodeJson(body) }, resultTtlMs, settings.nowMs),
    );
    if (chords.length > 0) await this.#host.openChords(chords);
    await sendPlanned(this.#host.publisher.outbox, messages, { timeoutMs, signal });
  }

  #changed(wire: WireSignature, checks: readonly Check[] = []): CanvasSignature {
    return new CanvasSignature(this.#host, this.name, wire, [...this.#checks, ...checks], this.#isOpen);
  }
}

/** The signature of a task with these arguments. */
export function taskSignature(
  host: SignatureHost,
  call: PreparedCall,
  bound: { readonly args: readonly unknown[]; readonly kwargs: Readonly<Record<string, unknown>>; readonly immutable: boolean },
  check: Check | null,
): CanvasSignature {
  const options = callOnWire(call, host.canvasFacts().lowerIsSooner);
  const wire = makeSignature(call.task, { ...bound, options });
  return new CanvasSignature(host, call.task, wire, check === null ? [] : [check], check === null);
}

function checkSignature(value: unknown, what: string): asserts value is CanvasSignature {
  if (value instanceof CanvasSignature) return;
  throw new ConfigError('E_CONFIG_TYPE', `${what} takes signatures, which task.s() and task.si() make, not ${describe(value)}`);
}

const describe = (value: unknown): string =>
  typeof value === 'object' && value !== null && 'send' in value ? 'a task: bind its arguments with s() or si()' : typeof value;

/**
 * Tasks one after the other, each with the result of the one before as its first argument, unless it is immutable (`si`).
 * Each joint is checked by the compiler.
 * @throws ConfigError `E_CONFIG_TYPE` for what is no signature
 * @remarks Source: Celery's `chain`.
 */
export function chain<const T extends readonly [AnySignature, ...AnySignature[]]>(...steps: T & Joined<T>): ChainOf<T> {
  for (const step of steps) checkSignature(step, 'chain()');
  return CanvasSignature.chain(steps as unknown as CanvasSignature[]) as unknown as ChainOf<T>;
}

/**
 * Tasks side by side. Sent, it gives a handle of all; before another task in a chain, that one gets the list of all results.
 * @throws ConfigError `E_CONFIG_TYPE` for what is no signature
 * @remarks Source: Celery's `group`.
 */
export function group<const T extends readonly [AnySignature, ...AnySignature[]]>(...members: T): GroupOf<T>;
export function group<M extends readonly unknown[], R>(
  members: readonly Signature<M, R>[],
): Signature<M, R[], 'celery.group', GroupHandle<R[]>>;
export function group(...given: readonly unknown[]): unknown {
  const members = (given.length === 1 && Array.isArray(given[0]) ? given[0] : given) as readonly unknown[];
  for (const member of members) checkSignature(member, 'group()');
  const [first] = members as readonly CanvasSignature[];
  if (first === undefined) throw new ConfigError('E_CONFIG_TYPE', 'group() takes at least one signature');
  return CanvasSignature.group(members as readonly CanvasSignature[], CanvasSignature.hostOf(first));
}

/**
 * A group, and a task that gets the list of all its results. It always ends: if a member fails, is revoked, expires or never reports,
 * the body fails with a ChordError and its errbacks are called. Needs a result store that everybody can read.
 * @throws ConfigError `E_CONFIG_TYPE` for what is no signature
 * @remarks Source: Celery's `chord`.
 */
export function chord<
  M extends readonly unknown[],
  T extends readonly unknown[],
  BM extends readonly unknown[],
  R,
  N extends string,
  H,
>(
  header: Signature<M, T, 'celery.group', unknown>,
  body: Signature<BM, R, N, H> & Joint<T, 'celery.group', BM, N>,
): Signature<M, R, N, H>;
/**
 * The same, but that it goes on whatever its parts come to: the body gets an outcome for each, as `Promise.allSettled` gives them.
 * @throws ConfigError `E_CONFIG_TYPE`, `E_CONFIG_UNKNOWN_KEY`, `E_CONFIG_RANGE`
 */
export function chord<
  M extends readonly unknown[],
  T extends readonly unknown[],
  BM extends readonly unknown[],
  R,
  N extends string,
  H,
>(
  header: Signature<M, T, 'celery.group', unknown>,
  body: Signature<BM, R, N, H> & Joint<Outcomes<T>, 'celery.group', BM, N>,
  options: ChordOptions,
): Signature<M, R, N, H>;
export function chord(header: { readonly name: string }, body: unknown, options: Partial<ChordOptions> = {}): never {
  for (const part of [header, body]) checkSignature(part, 'chord()');
  if (header.name !== 'celery.group') throw new ConfigError('E_CONFIG_TYPE', 'chord() takes a group as its header');
  checkObject(options, 'chord()');
  checkKeys(options, CHORD_KEYS, 'chord()');
  const { settle } = options;
  if (settle !== undefined && settle !== 'all')
    throw new ConfigError('E_CONFIG_RANGE', `chord(): settle is ${JSON.stringify(settle)}, and 'all' is the only choice`);
  return CanvasSignature.chord(header as never, body as never, settle) as never;
}
