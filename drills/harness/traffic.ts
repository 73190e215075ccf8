/**
 * Counts what passes between workers and their broker, whatever the protocol: bytes through a TCP proxy that changes nothing,
 * or the state of the embedded file on the disk. Outside Lovage, so that "no message" is not a claim of ours.
 */
import { statSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { DrillBroker } from './brokers.js';

export interface Traffic {
  /** The broker's URL on the way that is counted. */
  readonly brokerUrl: string;
  /** Grows with everything that passes; what it counts is in `unit`. */
  count(): number;
  readonly unit: string;
  /** Bytes that came from the broker; 0 where there is no connection. */
  pulled(): number;
  close(): Promise<void>;
}

/** The database and its log: whoever writes changes one of them. */
function watchFile(brokerUrl: string): Traffic {
  const path = brokerUrl.replace(/^file:/, '').replace(/\?.*$/, '');
  let changes = 0;
  let last = '';
  return {
    brokerUrl,
    unit: 'changes of the file',
    count() {
      const state = [path, `${path}-wal`]
        .map((file) => statSync(file, { bigint: true, throwIfNoEntry: false }))
        .map((stat) => `${stat?.size}/${stat?.mtimeNs}`)
        .join(' ');
      if (state !== last) changes += 1;
      last = state;
      return changes;
    },
    pulled: () => 0,
    close: async () => {},
  };
}

async function watchTcp(brokerUrl: string): Promise<Traffic> {
  const url = new URL(brokerUrl);
  const open = new Set<Socket>();
  let bytes = 0;
  let pulled = 0;
  const carry = (from: Socket, to: Socket, isAnswer: boolean): void => {
    open.add(from);
    from.on('data', (chunk) => {
      bytes += chunk.length;
      if (isAnswer) pulled += chunk.length;
    });
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.once('close', () => {
      open.delete(from);
      to.destroy();
    });
  };
  const server = createServer((client) => {
    const upstream = connect(Number(url.port), url.hostname);
    carry(client, upstream, false);
    carry(upstream, client, true);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const counted = new URL(brokerUrl);
  counted.hostname = '127.0.0.1';
  counted.port = String((server.address() as AddressInfo).port);
  return {
    brokerUrl: counted.href,
    unit: 'bytes',
    count: () => bytes,
    pulled: () => pulled,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

/** Starts counting; workers must be given its `brokerUrl`. */
export function watchTraffic(broker: DrillBroker): Promise<Traffic> {
  return broker.name === 'file' ? Promise.resolve(watchFile(broker.brokerUrl)) : watchTcp(broker.brokerUrl);
}
