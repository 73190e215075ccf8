/** A heap of names by time: the first one in O(1), adding and taking in O(log n). A name that was set again leaves its old place behind, which is skipped when it comes up. */
interface Node {
  readonly atMs: number;
  readonly name: string;
}

/** Old places may outnumber the names by so much before all are sorted anew. */
const SPARE = 1_024;

export class DueHeap {
  #nodes: Node[] = [];
  readonly #times = new Map<string, number>();

  /** How many names have a time. */
  get size(): number {
    return this.#times.size;
  }

  /** Places in use, old ones too. For tests of the bound. */
  get places(): number {
    return this.#nodes.length;
  }

  /** `null` takes the name away. */
  set(name: string, atMs: number | null): void {
    if (atMs === null) {
      this.#times.delete(name);
      return;
    }
    if (this.#times.get(name) === atMs) return;
    this.#times.set(name, atMs);
    this.#push({ atMs, name });
    if (this.#nodes.length > 2 * this.#times.size + SPARE) this.#compact();
  }

  /** Time of the first; `null` when it is empty. */
  first(): number | null {
    for (let top = this.#nodes[0]; top; top = this.#nodes[0]) {
      if (this.#times.get(top.name) === top.atMs) return top.atMs;
      this.#pop();
    }
    return null;
  }

  /** Takes out what is due, the earliest first, at most so many. */
  take(nowMs: number, most: number): string[] {
    const names: string[] = [];
    while (names.length < most) {
      const at = this.first();
      if (at === null || at > nowMs) break;
      const { name } = this.#nodes[0] as Node;
      this.#pop();
      this.#times.delete(name);
      names.push(name);
    }
    return names;
  }

  clear(): void {
    this.#nodes = [];
    this.#times.clear();
  }

  #compact(): void {
    this.#nodes = [...this.#times].map(([name, atMs]) => ({ atMs, name })).sort((a, b) => a.atMs - b.atMs);
  }

  #push(node: Node): void {
    const nodes = this.#nodes;
    let at = nodes.push(node) - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = nodes[up] as Node;
      if (parent.atMs <= node.atMs) break;
      nodes[at] = parent;
      at = up;
    }
    nodes[at] = node;
  }

  #pop(): void {
    const nodes = this.#nodes;
    const last = nodes.pop();
    if (last === undefined || nodes.length === 0) return;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= nodes.length) break;
      if (down + 1 < nodes.length && (nodes[down + 1] as Node).atMs < (nodes[down] as Node).atMs) down += 1;
      const child = nodes[down] as Node;
      if (child.atMs >= last.atMs) break;
      nodes[at] = child;
      at = down;
    }
    nodes[at] = last;
  }
}
