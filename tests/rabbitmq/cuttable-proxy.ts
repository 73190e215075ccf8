/** A TCP proxy in front of a server, to break connections as networks do: cut with a reset, refuse, or go silent. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface CuttableProxy {
  readonly port: number;
  /** Resets every connection; new ones are accepted. */
  cut(): void;
  /** Resets every connection and accepts no more, as if the process behind it had been killed. */
  refuse(): Promise<void>;
  /** Passes no byte in either direction until called again with false; connections stay up. */
  silence(on: boolean): void;
  close(): Promise<void>;
}

export async function openCuttableProxy(targetPort: number): Promise<CuttableProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let silent = false;
  const server = createServer((client) => {
    const upstream = connect(targetPort, '127.0.0.1');
    const pair = [client, upstream] as const;
    pairs.add(pair);
    const end = (): void => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    for (const [from, to] of [pair, [upstream, client] as const]) {
      from.setNoDelay(true);
      from.on('data', (chunk) => to.write(chunk));
      from.on('error', end).on('close', end);
      if (silent) from.pause();
    }
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const [client, upstream] of [...pairs]) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
  };
  let open = true;
  const refuse = async (): Promise<void> => {
    const closing = open && new Promise((resolve) => server.close(resolve));
    open = false;
    cut();
    await closing;
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    refuse,
    silence(on) {
      silent = on;
      for (const socket of [...pairs].flat()) on ? socket.pause() : socket.resume();
    },
    close: refuse,
  };
}
