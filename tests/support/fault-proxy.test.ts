/** What each fault of the proxy does to connections that are open, and to new ones. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FaultProxy, startFaultProxy } from './fault-proxy.js';

let server: Server;
let proxy: FaultProxy;
/** The server's end of each connection, and what it got there. */
let received: { socket: Socket; text: string; closed: boolean }[];
const clients: Client[] = [];

/** A client that remembers what came and how it ended. */
class Client {
  text = '';
  closed = false;
  error = '';
  readonly socket: Socket;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (chunk: Buffer) => (this.text += chunk.toString()));
    this.socket.on('error', (error: NodeJS.ErrnoException) => (this.error = error.code ?? ''));
    this.socket.on('close', () => (this.closed = true));
    clients.push(this);
  }
}

const until = (condition: () => boolean): Promise<void> => expect.poll(condition, { timeout: 10_000, interval: 5 }).toBe(true);

/** An echo server that answers in capitals. */
beforeEach(async () => {
  received = [];
  server = createServer((socket) => {
    const entry = { socket, text: '', closed: false };
    received.push(entry);
    socket.on('data', (chunk: Buffer) => {
      entry.text += chunk.toString();
      socket.write(chunk.toString().toUpperCase());
    });
    socket.on('error', () => {});
    socket.on('close', () => (entry.closed = true));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: (server.address() as AddressInfo).port } });
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy();
  for (const { socket } of received) socket.destroy();
  await proxy.close();
  await new Promise((resolve) => server.close(resolve));
});

async function talking(): Promise<Client> {
  const client = new Client(proxy.port);
  client.socket.write('hello ');
  await until(() => client.text === 'HELLO ');
  return client;
}

test('carries bytes and closings both ways, and rewrites a URL', async () => {
  expect(proxy.url('redis://user:pw@broker.example:6379/3?a=b')).toBe(`redis://user:pw@127.0.0.1:${proxy.port}/3?a=b`);
  expect(proxy.url('amqp://guest:guest@broker.example:5672')).toBe(`amqp://guest:guest@127.0.0.1:${proxy.port}`);
  const client = await talking();
  const big = 'x'.repeat(5_000_000);
  client.socket.end(big);
  await until(() => client.text.length === 6 + big.length && client.closed);
  expect(client.error).toBe('');
  expect(received[0]?.text.length).toBe(6 + big.length);
  await until(() => proxy.connections === 0);
});

test('reset ends every open connection with an error, and new ones work', async () => {
  const first = await talking();
  proxy.reset();
  await until(() => first.closed && received[0]?.closed === true);
  expect(first.error).toBe('ECONNRESET');
  await talking();
});

test('refuse ends open connections and refuses new ones until pass', async () => {
  const first = await talking();
  proxy.refuse();
  await until(() => first.closed);
  const second = new Client(proxy.port);
  await until(() => second.closed);
  expect(second.error).toBe('ECONNREFUSED');
  await proxy.pass();
  await talking();
});

test('a black hole accepts, swallows and never closes; what lost bytes stays silent after pass', async () => {
  const first = await talking();
  proxy.blackHole();
  first.socket.write('lost');
  const second = new Client(proxy.port);
  second.socket.write('lost too');
  await once(second.socket, 'connect');
  received[0]?.socket.write('lost answer');
  await until(() => proxy.swallowed === 'lostlost toolost answer'.length);
  await proxy.pass();
  await talking(); // a third connection works, so the two before had their chance
  first.socket.write('still lost');
  await until(() => proxy.swallowed === 'lostlost toolost answerstill lost'.length);
  expect([first.text, second.text, first.closed, second.closed]).toEqual(['HELLO ', '', false, false]);
  expect(received[0]?.text).toBe('hello ');
});

test('a black hole does not tell the server that a client has gone, pass does', async () => {
  const first = await talking();
  proxy.blackHole();
  first.socket.destroy();
  await until(() => first.closed);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(received[0]?.closed).toBe(false);
  await proxy.pass();
  await until(() => received[0]?.closed === true && proxy.connections === 0);
});

test('half-open loses what the server says and carries what it is told', async () => {
  const first = await talking();
  proxy.halfOpen();
  first.socket.write('one way');
  await until(() => received[0]?.text === 'hello one way' && proxy.swallowed === 7);
  await proxy.pass();
  await talking();
  expect([first.text, first.closed]).toEqual(['HELLO ', false]);
});

test('half-open the other way loses what the server is told', async () => {
  const first = await talking();
  proxy.halfOpen('to-server');
  first.socket.write('lost');
  received[0]?.socket.write('news');
  await until(() => first.text === 'HELLO news' && proxy.swallowed === 4);
  expect(received[0]?.text).toBe('hello ');
});

test('a stalled network delivers everything in order when it passes again, also to new connections', async () => {
  const first = await talking();
  proxy.stall();
  const big = 'y'.repeat(2_000_000);
  first.socket.write(big);
  first.socket.write('end');
  const second = new Client(proxy.port);
  second.socket.write('second');
  await until(() => proxy.connections === 2);
  expect(received[0]?.text).toBe('hello ');
  await proxy.pass();
  await until(() => received[0]?.text.length === 6 + big.length + 3 && second.text === 'SECOND');
  expect(received[0]?.text.endsWith('yend')).toBe(true);
});

test('slow lets one byte a second through, and pass lets the rest go at once', async () => {
  const first = await talking();
  proxy.slow(1);
  const started = Date.now();
  first.socket.write('abcdefghijklmnopqrstuvwxyz');
  await until(() => (received[0]?.text.length ?? 0) >= 8); // two bytes
  expect(Date.now() - started).toBeGreaterThanOrEqual(900);
  expect(received[0]?.text.length).toBeLessThan(20);
  await proxy.pass();
  await until(() => first.text === 'HELLO ABCDEFGHIJKLMNOPQRSTUVWXYZ');
});

test('slow keeps its speed: 4,000 bytes at 20,000 bytes a second are not there at once', async () => {
  const first = await talking();
  proxy.slow(20_000);
  const started = Date.now();
  first.socket.write('z'.repeat(4_000));
  await until(() => received[0]?.text.length === 4_006);
  expect(Date.now() - started).toBeGreaterThanOrEqual(140); // four pieces of 1,000 bytes, 50 ms apart, the first at once
});

test('delay holds every byte so long and keeps the order', async () => {
  const first = await talking();
  proxy.delay(150);
  const started = Date.now();
  for (const word of ['a', 'b', 'c']) first.socket.write(word);
  await until(() => first.text === 'HELLO ABC');
  expect(Date.now() - started).toBeGreaterThanOrEqual(295); // there and back
});

test('cutAfter lets exactly so many bytes through and resets in the middle of a message', async () => {
  const first = await talking();
  proxy.cutAfter(3);
  first.socket.write('abcdef');
  await until(() => first.closed && received[0]?.closed === true);
  expect('hello abc'.startsWith(received[0]?.text ?? '?')).toBe(true);
  await talking(); // one cut, then it passes
});

test('holds no more than a bounded part of what it cannot deliver', async () => {
  const first = await talking();
  proxy.stall();
  const big = Buffer.alloc(64 * 1024 * 1024, 'b');
  const before = process.memoryUsage().arrayBuffers;
  first.socket.write(big);
  await until(() => first.socket.writableLength > 0 && first.socket.bytesRead === 6);
  await new Promise((resolve) => setTimeout(resolve, 300)); // as long as it would take to carry all of it
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024);
  expect(first.socket.writableLength).toBeGreaterThan(0);
});
