/**
 * A TCP proxy in front of one server that breaks the connection the way networks do: for tests, drills and the chaos rig.
 * It knows no protocol; it only carries, holds or loses bytes. Faults hold for connections open now and for new ones.
 *
 * A byte that was swallowed cannot come back, so a direction that lost one stays silent until its connection is closed,
 * also after `pass()`, as when a firewall forgets a connection; `stall()` is milder. Silence carries no closing either.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

export type Flow = 'from-server' | 'to-server';

export interface FaultProxy {
  readonly port: number;
  /** Connections that clients hold open through the proxy now, … */
  readonly connections: number;
  /** … all that were accepted so far, and bytes swallowed so far. */
  readonly accepted: number;
  readonly swallowed: number;
  /** The same URL through the proxy: host and port are replaced. */
  url(original: string): string;
  /** No fault. Resolves when new connections are accepted again. */
  pass(): Promise<void>;
  /** Resets (RST) every open connection, once; the fault in force stays. */
  reset(): void;
  /** Resets every open connection and refuses new ones. */
  refuse(): void;
  /** Accepts connections and swallows both directions without ever closing. */
  blackHole(): void;
  /** Swallows one direction; the other works. Default: what the server sends is lost. */
  halfOpen(lost?: Flow): void;
  /** Holds everything, as a cable pulled for a while: `pass()` delivers what was held. */
  stall(): void;
  /** Lets so many bytes a second through in each direction of each connection; at least 1. */
  slow(bytesPerSecond: number): void;
  /** Holds each byte so long. */
  delay(ms: number): void;
  /** Lets so many more bytes through, over all connections and directions, then resets the connection that sent the last one. */
  cutAfter(bytes: number): void;
  /** Resets every connection and stops listening. Safe to call twice. */
  close(): Promise<void>;
}

export interface FaultProxyOptions {
  readonly target: { readonly host: string; readonly port: number };
}

type Mode =
  | { readonly kind: 'pass' | 'refuse' | 'stall' }
  | { readonly kind: 'swallow'; readonly flows: readonly Flow[] }
  | { readonly kind: 'slow'; readonly bytesPerSecond: number }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'cut'; left: number };

interface Direction {
  readonly flow: Flow;
  readonly source: Socket;
  readonly sink: Socket | null;
  /** Bounded: the source is paused while it holds HELD_LIMIT bytes or more. */
  readonly held: { chunk: Buffer; readonly at: number }[];
  heldBytes: number;
  /** Bytes were lost: nothing may follow. */
  dead: boolean;
  ended: boolean;
  draining: boolean;
  /** When a slow direction may send its next piece. */
  nextAt: number;
  timer: NodeJS.Timeout | null;
}

interface Connection {
  readonly client: Socket;
  /** `null` when it was accepted by a black hole. */
  readonly server: Socket | null;
  readonly directions: readonly Direction[];
}

const HELD_LIMIT = 256 * 1024;
/** A client in an endless reconnect loop must not take all of the machine's sockets. */
const CONNECTION_LIMIT = 2_000;
const SLOW_STEP_MS = 50;

const silent = (mode: Mode): boolean => mode.kind === 'stall' || mode.kind === 'swallow';

class TcpProxy implements FaultProxy {
  port = 0;
  accepted = 0;
  swallowed = 0;
  readonly #target: FaultProxyOptions['target'];
  readonly #open = new Set<Connection>();
  #listener: Server | null = null;
  #listening: Promise<void> = Promise.resolve();
  #closed = false;
  #mode: Mode = { kind: 'pass' };

  constructor(options: FaultProxyOptions) {
    this.#target = options.target;
  }

  get connections(): number {
    let clients = 0;
    for (const { client } of this.#open) if (!client.destroyed) clients += 1;
    return clients;
  }

  url(original: string): string {
    const url = new URL(original);
    url.hostname = '127.0.0.1';
    url.port = String(this.port);
    return url.href;
  }

  async pass(): Promise<void> {
    this.#enter({ kind: 'pass' });
    await this.#listening;
  }

  reset(): void {
    for (const connection of [...this.#open]) this.#end(connection);
  }

  refuse(): void {
    this.#enter({ kind: 'refuse' });
    this.#listener?.close();
    this.#listener = null;
    this.reset();
  }

  blackHole(): void {
    this.#enter({ kind: 'swallow', flows: ['from-server', 'to-server'] });
  }

  halfOpen(lost: Flow = 'from-server'): void {
    this.#enter({ kind: 'swallow', flows: [lost] });
  }

  stall(): void {
    this.#enter({ kind: 'stall' });
  }

  slow(bytesPerSecond: number): void {
    this.#enter({ kind: 'slow', bytesPerSecond: Math.max(1, bytesPerSecond) });
  }

  delay(ms: number): void {
    this.#enter({ kind: 'delay', ms });
  }

  cutAfter(bytes: number): void {
    this.#enter({ kind: 'cut', left: bytes });
  }

  async close(): Promise<void> {
    this.refuse();
    this.#closed = true;
    await this.#listening.catch(() => {});
  }

  /** Listens on the port it had before, if it had one. */
  listen(): Promise<void> {
    const listener = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
    this.#listener = listener;
    this.#listening = new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      listener.once('close', resolve);
      listener.listen(this.port, '127.0.0.1', () => {
        const address = listener.address();
        if (address && typeof address === 'object') this.port = address.port;
        resolve();
      });
    });
    this.#listening.catch(() => {}); // told by the next pass()
    return this.#listening;
  }

  /** A new fault is first put in force, then applied to what is held. */
  #enter(mode: Mode): void {
    this.#mode = mode;
    if (mode.kind !== 'refuse' && !this.#listener && !this.#closed) void this.listen();
    for (const connection of [...this.#open]) {
      if (!this.#endIfOver(connection)) for (const direction of connection.directions) this.#pump(connection, direction);
    }
  }

  /** A closing is passed on only by a network that speaks. A hole without a server behind it has nobody to tell. */
  #endIfOver(connection: Connection): boolean {
    const { client, server, directions } = connection;
    const over = client.destroyed || server?.destroyed || directions.some((direction) => direction.ended && direction.dead);
    if (!over || (silent(this.#mode) && server && !(client.destroyed && server.destroyed))) return false;
    this.#end(connection);
    return true;
  }

  #accept(client: Socket): void {
    this.accepted += 1;
    if (this.#open.size >= CONNECTION_LIMIT) {
      client.resetAndDestroy();
      return;
    }
    const hole = this.#mode.kind === 'swallow' && this.#mode.flows.length === 2;
    const server = hole ? null : connect({ ...this.#target, allowHalfOpen: true });
    const direction = (flow: Flow, source: Socket, sink: Socket | null): Direction => ({
      ...{
        flow,
        source,
        sink,
        held: [],
        heldBytes: 0,
        dead: sink === null,
        ended: false,
        draining: false,
        nextAt: 0,
        timer: null,
      },
    });
    const directions = [direction('to-server', client, server)];
    if (server) directions.push(direction('from-server', server, client));
    const connection: Connection = { client, server, directions };
    this.#open.add(connection);
    for (const one of directions) {
      one.source.setNoDelay(true);
      one.source.on('data', (chunk: Buffer) => this.#take(connection, one, chunk));
      one.source.on('end', () => {
        one.ended = true;
        if (!this.#endIfOver(connection)) this.#pump(connection, one);
      });
      one.source.on('error', () => {}); // 'close' follows and says the same
      one.source.on('close', () => this.#endIfOver(connection));
      one.sink?.on('drain', () => {
        one.draining = false;
        this.#pump(connection, one);
      });
    }
  }

  #take(connection: Connection, direction: Direction, chunk: Buffer): void {
    if (this.#mode.kind === 'swallow' && this.#mode.flows.includes(direction.flow)) direction.dead = true;
    if (direction.dead) this.swallowed += chunk.length;
    if (direction.dead) return;
    direction.held.push({ chunk, at: Date.now() });
    direction.heldBytes += chunk.length;
    if (direction.heldBytes >= HELD_LIMIT) direction.source.pause();
    this.#pump(connection, direction);
  }

  /** Carries what may be carried now, and sets the timer for what may be carried later. */
  #pump(connection: Connection, direction: Direction): void {
    if (direction.timer) clearTimeout(direction.timer);
    direction.timer = null;
    const mode = this.#mode;
    if (mode.kind === 'swallow' && mode.flows.includes(direction.flow)) {
      this.swallowed += direction.heldBytes;
      this.#forget(direction, direction.dead || direction.heldBytes > 0);
      direction.source.resume();
      return;
    }
    const { sink } = direction;
    if (direction.dead || !sink || mode.kind === 'stall' || direction.draining) return;
    const later = (ms: number): void => {
      direction.timer = setTimeout(() => this.#pump(connection, direction), ms);
    };
    for (let head = direction.held[0]; head; head = direction.held[0]) {
      if (sink.destroyed) return;
      if (mode.kind === 'delay' && head.at + mode.ms > Date.now()) return later(head.at + mode.ms - Date.now());
      let allowed = head.chunk.length;
      if (mode.kind === 'slow') {
        if (direction.nextAt > Date.now()) return later(direction.nextAt - Date.now());
        allowed = Math.max(1, Math.floor((mode.bytesPerSecond * SLOW_STEP_MS) / 1_000));
        direction.nextAt = Date.now() + Math.max(SLOW_STEP_MS, 1_000 / mode.bytesPerSecond);
      }
      if (mode.kind === 'cut') allowed = mode.left;
      const piece = head.chunk.subarray(0, allowed);
      if (piece.length === head.chunk.length) direction.held.shift();
      else head.chunk = head.chunk.subarray(piece.length);
      direction.heldBytes -= piece.length;
      const ready = piece.length === 0 || sink.write(piece);
      if (mode.kind === 'cut') {
        mode.left -= piece.length;
        if (mode.left <= 0) return this.#cut(connection, sink);
      }
      if (!ready) {
        direction.draining = true;
        break;
      }
    }
    if (direction.heldBytes < HELD_LIMIT) direction.source.resume(); // harmless if it was never paused
    if (direction.ended && direction.held.length === 0) sink.end();
  }

  /** The last bytes are on their way before the reset follows them. */
  #cut(connection: Connection, sink: Socket): void {
    this.#mode = { kind: 'pass' };
    for (const direction of connection.directions) this.#forget(direction, true);
    if (sink.writableLength === 0) this.#end(connection);
    else sink.once('drain', () => this.#end(connection));
  }

  #forget(direction: Direction, dead: boolean): void {
    direction.dead = dead;
    direction.held.length = 0;
    direction.heldBytes = 0;
  }

  #end(connection: Connection): void {
    if (!this.#open.delete(connection)) return;
    for (const direction of connection.directions) {
      if (direction.timer) clearTimeout(direction.timer);
      this.#forget(direction, true);
    }
    for (const socket of [connection.client, connection.server]) if (socket && !socket.destroyed) socket.resetAndDestroy();
  }
}

/** Starts a proxy on a free port of 127.0.0.1. */
export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const proxy = new TcpProxy(options);
  return proxy.listen().then(() => proxy);
}
