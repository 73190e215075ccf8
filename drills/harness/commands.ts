/**
 * Counts the commands that each client sends to a server: a TCP door for each client, which changes nothing and reads along. What a
 * script of Redis calls inside the server is no command of anybody's, so the server's own statistics would not do; and RabbitMQ has
 * none a client. Knows of both protocols no more than where one command ends and the next begins.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Reads one connection's bytes as they come; tells of each command by its name. */
export type CommandReader = (chunk: Buffer) => void;

/** A bulk string of more than this is not kept: only its first bytes are a name. */
const NAME_BYTES = 64;
const LINE_BYTES = 64;

/** Redis: arrays of bulk strings, of which the first is the name. */
export function readResp(onCommand: (name: string) => void): CommandReader {
  let line = '';
  /** Strings that the command under way still has. */
  let left = 0;
  let isName = false;
  /** Bytes of the string under way, with its line end. */
  let bytes = 0;
  let name = '';
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (bytes > 0) {
        const taken = Math.min(bytes, chunk.length - at);
        if (isName && name.length < NAME_BYTES) name += chunk.toString('latin1', at, at + taken);
        bytes -= taken;
        at += taken;
        if (bytes === 0) {
          if (isName) onCommand(name.trimEnd().toLowerCase());
          isName = false;
          left -= 1;
        }
        continue;
      }
      const byte = String.fromCharCode(chunk[at] as number);
      at += 1;
      if (byte !== '\n') {
        if (line.length >= LINE_BYTES) throw new Error(`no command of Redis begins with ${JSON.stringify(line)}`);
        line += byte;
        continue;
      }
      const match = /^([*$])(\d+)\r$/.exec(line);
      if (match === null || (match[1] === '*') !== (left === 0)) throw new Error(`no command of Redis: ${JSON.stringify(line)}`);
      line = '';
      if (left === 0) {
        left = Number(match[2]);
        isName = true;
        name = '';
      } else bytes = Number(match[2]) + 2;
    }
  };
}

const AMQP_GREETING_BYTES = 8;
const AMQP_HEAD_BYTES = 7;
const AMQP_METHOD = 1;
const AMQP_HEARTBEAT = 8;

/** RabbitMQ: method frames, by class and method (`60.40` publishes); a sign of life of the connection is `heartbeat`. Contents are no commands. */
export function readAmqp(onCommand: (name: string) => void): CommandReader {
  let greeting = AMQP_GREETING_BYTES;
  let head: number[] = [];
  let skip = 0;
  return (chunk) => {
    for (const byte of chunk) {
      if (greeting > 0) greeting -= 1;
      else if (skip > 0) skip -= 1;
      else {
        head.push(byte);
        const isMethod = head[0] === AMQP_METHOD;
        if (head.length < AMQP_HEAD_BYTES + (isMethod ? 4 : 0)) continue;
        const view = Buffer.from(head);
        if (isMethod) onCommand(`${view.readUInt16BE(AMQP_HEAD_BYTES)}.${view.readUInt16BE(AMQP_HEAD_BYTES + 2)}`);
        else if (head[0] === AMQP_HEARTBEAT) onCommand('heartbeat');
        // the frame's end is one byte more
        skip = view.readUInt32BE(3) + 1 - (isMethod ? 4 : 0);
        head = [];
      }
    }
  };
}

/** One client's way to a server. */
export interface Door {
  /** The server's URL on this way. */
  readonly url: string;
  /** How often each command was sent so far. */
  counts(): ReadonlyMap<string, number>;
  close(): Promise<void>;
}

/** Opens a door to the server of this URL, `redis:` or `amqp:`. */
export async function openDoor(serverUrl: string): Promise<Door> {
  const target = new URL(serverUrl);
  const read = target.protocol.startsWith('redis') ? readResp : readAmqp;
  const counts = new Map<string, number>();
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    client.on(
      'data',
      read((name) => counts.set(name, (counts.get(name) ?? 0) + 1)),
    );
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.setNoDelay(true);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.once('close', () => {
        open.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(serverUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    counts: () => new Map(counts),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
