/**
 * What waits in the memory broker: entries, queues by priority, and the one heap of delayed entries. Pure data
 * structures; who may have what is decided in `space.ts`.
 */
import type { WireMessage } from '../../wire/message.js';

/** A message, or garbage, and what the broker knows of it. `message` is `null` for garbage, `raw` for a message. */
export interface Entry {
  readonly message: WireMessage | null;
  readonly raw: Uint8Array | null;
  readonly priority: number;
  redelivered: boolean;
  losses: number;
}

const LEVELS = 10;
/** Used-up room at the start of a list is given back once there is this much, and it is most of the list. */
const COMPACT_AT = 1_024;

/** First in, first out, with a stack in front for what was handed back. */
class Line {
  #front: Entry[] = [];
  #items: Entry[] = [];
  #head = 0;

  get size(): number {
    return this.#front.length + this.#items.length - this.#head;
  }

  pushBack(entry: Entry): void {
    this.#items.push(entry);
  }

  pushFront(entry: Entry): void {
    this.#front.push(entry);
  }

  shift(): Entry | undefined {
    if (this.#front.length > 0) return this.#front.pop();
    const entry = this.#items[this.#head];
    if (!entry) return undefined;
    this.#head += 1;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return entry;
  }

  /** Takes those out that are chosen, and adds them to `taken`. */
  extract(chosen: ReadonlySet<Entry>, taken: Set<Entry>): void {
    const stays = (entry: Entry): boolean => {
      if (chosen.has(entry)) taken.add(entry);
      return !chosen.has(entry);
    };
    this.#front = this.#front.filter(stays);
    this.#items = this.#items.slice(this.#head).filter(stays);
    this.#head = 0;
  }

  /** In the order of serving. */
  *[Symbol.iterator](): Generator<Entry> {
    for (let index = this.#front.length - 1; index >= 0; index -= 1) yield this.#front[index] as Entry;
    for (let index = this.#head; index < this.#items.length; index += 1) yield this.#items[index] as Entry;
  }
}

/** A queue: one line for each priority, the highest served first. */
export class MemoryQueue {
  readonly name: string;
  /** Entries waiting for a time; they are in the space's heap. */
  delayed = 0;
  /** Entries that consumers hold. */
  held = 0;
  #ready = 0;
  #top = 0;
  readonly #lines: readonly Line[] = Array.from({ length: LEVELS }, () => new Line());

  constructor(name: string) {
    this.name = name;
  }

  get ready(): number {
    return this.#ready;
  }

  /** Everything that is somewhere on the account of this queue; what its cap is measured against. */
  get total(): number {
    return this.#ready + this.delayed + this.held;
  }

  pushBack(entry: Entry): void {
    this.#line(entry.priority).pushBack(entry);
  }

  pushFront(entry: Entry): void {
    this.#line(entry.priority).pushFront(entry);
  }

  shift(): Entry | undefined {
    if (this.#ready === 0) return undefined;
    this.#ready -= 1;
    for (; ; this.#top -= 1) {
      const entry = this.#lines[this.#top]?.shift();
      if (entry || this.#top === 0) return entry;
    }
  }

  /** Takes those out of the chosen that are ready, wherever they stand. */
  extract(chosen: ReadonlySet<Entry>): ReadonlySet<Entry> {
    const taken = new Set<Entry>();
    for (const line of this.#lines) line.extract(chosen, taken);
    this.#ready -= taken.size;
    return taken;
  }

  /** In the order of serving. */
  *[Symbol.iterator](): Generator<Entry> {
    for (let level = LEVELS - 1; level >= 0; level -= 1) yield* this.#lines[level] as Line;
  }

  #line(priority: number): Line {
    this.#ready += 1;
    if (priority > this.#top) this.#top = priority;
    return this.#lines[priority] as Line;
  }
}

/** An entry on its way to a queue, not before `atMs` of wall time. */
export interface DelayedEntry {
  readonly atMs: number;
  /** Keeps entries of one millisecond in order. */
  readonly order: number;
  readonly queue: MemoryQueue;
  readonly entry: Entry;
}

/** A binary heap by time. */
export class DelayHeap {
  #heap: DelayedEntry[] = [];
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  /** When the first one is due; `Infinity` if none waits. */
  get nextAtMs(): number {
    return this.#heap[0]?.atMs ?? Infinity;
  }

  push(queue: MemoryQueue, entry: Entry, atMs: number): void {
    this.#order += 1;
    // NaN would never compare and would stall all that waits behind it: it is due at once
    const delayed = { atMs: Number.isNaN(atMs) ? 0 : Math.max(atMs, 0), order: this.#order, queue, entry };
    const heap = this.#heap;
    let index = heap.push(delayed) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (before(heap[parent] as DelayedEntry, delayed)) break;
      heap[index] = heap[parent] as DelayedEntry;
      index = parent;
    }
    heap[index] = delayed;
  }

  /** Takes the first one if it is due. */
  popDue(nowMs: number): DelayedEntry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (!first || first.atMs > nowMs) return undefined;
    const last = heap.pop() as DelayedEntry;
    if (heap.length > 0) {
      let index = 0;
      for (;;) {
        let child = 2 * index + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && before(heap[child + 1] as DelayedEntry, heap[child] as DelayedEntry)) child += 1;
        if (before(last, heap[child] as DelayedEntry)) break;
        heap[index] = heap[child] as DelayedEntry;
        index = child;
      }
      heap[index] = last;
    }
    return first;
  }

  /** What waits for this queue, in the order of its times. */
  of(queue: MemoryQueue): DelayedEntry[] {
    return this.#heap.filter((delayed) => delayed.queue === queue).sort((a, b) => a.atMs - b.atMs || a.order - b.order);
  }

  /** Takes out all that are meant; a sorted array is a heap. */
  take(isMeant: (delayed: DelayedEntry) => boolean): DelayedEntry[] {
    const taken: DelayedEntry[] = [];
    const kept = this.#heap.filter((delayed) => !isMeant(delayed) || taken.push(delayed) === 0);
    if (taken.length > 0) this.#heap = kept.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
    return taken;
  }
}

function before(a: DelayedEntry, b: DelayedEntry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
