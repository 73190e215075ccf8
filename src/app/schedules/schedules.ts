/**
 * What `app.schedule` was told: ids, options and signatures, kept until a scheduler puts them into its store (`beat/reconcile.ts`). Knows
 * no schedule: `index.ts` gives the check of their options.
 */
import { ConfigError } from '../../core/errors.js';
import type { WireSignature } from '../../wire/signature.js';
import { CanvasSignature, type Check } from '../workflows/signature.js';

/** An entry in code. */
export interface CodeEntry {
  readonly id: string;
  /** As they were given, checked. */
  readonly options: object;
  readonly signature: WireSignature;
  /** Of its arguments; what schemas refuse is known when they have run. */
  readonly checks: readonly Check[];
}

/** As many as a store keeps. */
const MOST = 100_000;

export class Schedules {
  readonly #entries = new Map<string, CodeEntry>();
  readonly #check: (id: unknown, options: object) => void;

  /** @param check throws for an id or options that are wrong */
  constructor(check: (id: unknown, options: object) => void) {
    this.#check = check;
  }

  /** @throws ConfigError, ArgumentError as `app.schedule` */
  add(id: string, options: object, signature: unknown): void {
    this.#check(id, options);
    if (this.#entries.has(id))
      throw new ConfigError('E_CONFIG_CONFLICT', `app.schedule(): there is an entry ${JSON.stringify(id)} already`);
    if (this.#entries.size >= MOST) throw new ConfigError('E_CONFIG_RANGE', `app.schedule(): an app has at most ${MOST} entries`);
    const { wire, checks } = CanvasSignature.closed(signature, `app.schedule(${JSON.stringify(id)})`);
    this.#entries.set(id, { id, options, signature: wire, checks });
  }

  all(): readonly CodeEntry[] {
    return [...this.#entries.values()];
  }
}
