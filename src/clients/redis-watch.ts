/**
 * Finds out that a connection is dead although nobody closed it: a firewall forgot it, the server is stopped, the cable is
 * out, or so little comes that no answer will ever be whole.
 *
 * Owns: when an answer is overdue, and when a quiet connection is asked whether it lives. Does not own: the connection;
 * `redis.ts` tells what went out and came in, and drops what is found dead.
 *
 * One timer a connection and a handful of numbers, whatever its traffic.
 */

/** Commands are out and nothing at all has come for this long. */
const SILENCE_MS = 2_500;
/** The same while much is on its way out: a slow line takes its time before the server has anything to answer. */
const SILENCE_UPLOADING_MS = 10_000;
const UPLOADING_BYTES = 64 * 1024;
/** Bytes come, but in so long so few of them that no answer gets whole. */
const TRICKLE_MS = 10_000;
const TRICKLE_BYTES = 1_024;
/** A timer that fires so late was held up by our own process; what came meanwhile is not read yet. */
const LATE_MS = 250;
/** How often a connection with heartbeats is looked at; this costs no command. */
const LOOK_MS = 500;

export interface LinkWatchOptions {
  /** Time without a sign of life after which `ping` is called; `null` for now none. Asked anew each time. */
  readonly heartbeatMs: () => number | null;
  /** Sends something that is answered. */
  readonly ping: () => void;
  /** Bytes that wait to be written. */
  readonly unwritten: () => number;
  /** Called once. */
  readonly onDead: (cause: Error) => void;
}

export class LinkWatch {
  readonly #options: LinkWatchOptions;
  #unanswered = 0;
  #bytesOut = 0;
  #heardMs = performance.now();
  /** When the first of those that are unanswered now was sent. */
  #askedMs = 0;
  #bytesIn = 0;
  #answers = 0;
  #unwritten = 0;
  /** Begin of the time over which a trickle is measured, and the counts then. */
  #trickle = { sinceMs: 0, answers: 0, bytesIn: 0 };
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Infinity;
  #isOver = false;

  constructor(options: LinkWatchOptions) {
    this.#options = options;
    this.#armBy(performance.now() + LOOK_MS);
  }

  /** A command of so many bytes was sent. */
  sent(bytes: number): void {
    this.#bytesOut += bytes;
    this.#unanswered += 1;
    if (this.#unanswered > 1) return;
    this.#askedMs = performance.now();
    this.#trickle = { sinceMs: this.#askedMs, answers: this.#answers, bytesIn: this.#bytesIn };
    this.#armBy(this.#askedMs + SILENCE_MS);
  }

  /** It was answered, or will never be. */
  answered(bytes: number): void {
    this.#bytesOut -= bytes;
    this.#unanswered -= 1;
    this.#answers += 1;
  }

  /** Bytes came. */
  heard(bytes: number): void {
    this.#bytesIn += bytes;
    this.#heardMs = performance.now();
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #armBy(atMs: number): void {
    if (this.#isOver || atMs >= this.#dueMs) return;
    clearTimeout(this.#timer);
    this.#dueMs = atMs;
    // the connection itself keeps the process alive
    this.#timer = setTimeout(() => this.#look(), Math.max(0, Math.ceil(atMs - performance.now()))).unref();
  }

  #look(): void {
    const nowMs = performance.now();
    const wasLate = nowMs - this.#dueMs > LATE_MS;
    this.#dueMs = Infinity;
    if (wasLate) return this.#armBy(nowMs + LATE_MS);
    // Without heartbeats nothing is due before the next command is sent.
    const everyMs = this.#options.heartbeatMs();
    if (everyMs !== null) this.#armBy(nowMs + LOOK_MS);
    if (this.#unanswered > 0) this.#judge(nowMs);
    else if (everyMs !== null && nowMs - this.#heardMs >= everyMs) this.#options.ping();
  }

  #judge(nowMs: number): void {
    const unwritten = this.#options.unwritten();
    // the kernel took something: the other side, or the way to it, moves
    if (unwritten < this.#unwritten) this.#heardMs = nowMs;
    this.#unwritten = unwritten;
    const limitMs = this.#bytesOut > UPLOADING_BYTES ? SILENCE_UPLOADING_MS : SILENCE_MS;
    const silentSinceMs = Math.max(this.#heardMs, this.#askedMs);
    if (nowMs - silentSinceMs >= limitMs) return this.#dead(`no answer for ${limitMs / 1_000} s`);
    const { sinceMs, answers, bytesIn } = this.#trickle;
    if (nowMs - sinceMs >= TRICKLE_MS) {
      const came = this.#bytesIn - bytesIn;
      if (answers === this.#answers && came > 0 && came < TRICKLE_BYTES)
        return this.#dead(`${came} bytes of an answer in ${TRICKLE_MS / 1_000} s`);
      this.#trickle = { sinceMs: nowMs, answers: this.#answers, bytesIn: this.#bytesIn };
    }
    this.#armBy(Math.min(silentSinceMs + limitMs, this.#trickle.sinceMs + TRICKLE_MS));
  }

  #dead(why: string): void {
    this.stop();
    this.#options.onDead(new Error(`the connection looks open, but there was ${why}`));
  }
}
