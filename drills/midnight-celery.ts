/**
 * Celery's column of drill 1: the same scenario against real workers. It claims nothing of Celery; it shows how much a worker grows
 * by tasks that expired, and what one that starts is given by each of the others, with Celery's cap of 50,000 ids and with the cap
 * raised, as shops do whose revokes were forgotten.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { hasCelery, startPythonWorker } from '../tests/support/celery.js';
import type { Kit } from './harness/scene.js';
import { watchTraffic } from './harness/traffic.js';
import { pause } from './harness/wait.js';
import { sendExpired } from './midnight-restart.js';

const APP = { folder: fileURLToPath(new URL('./apps/', import.meta.url)), module: 'append_python' };
const PEERS = 2;
/** Its mingle takes a second; after it nothing more comes. */
const MINGLE_MS = 4_000;

type PythonWorker = Awaited<ReturnType<typeof startPythonWorker>>;

const residentMiB = ({ pid }: PythonWorker): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN) / 1_024;

/** Otherwise each state that Celery stores waits for the disk, and half a million of them for an hour; durability is not what is tried here. */
async function withoutFsync(url: string): Promise<void> {
  const client = new Redis(url);
  try {
    await client.config('SET', 'appendfsync', 'no');
  } finally {
    client.disconnect();
  }
}

export async function playCelery(kit: Kit): Promise<void> {
  const version = (['5.6', '5.2'] as const).find(hasCelery);
  if (kit.broker.name === 'file' || !version)
    return kit.say('Celery does not play: no Celery here, or a broker that it cannot use');
  const sizes =
    kit.size === 'full'
      ? ([
          ['50000', 100_000],
          ['1000000', 400_000],
        ] as const)
      : ([['50000', 2_000]] as const);
  await withoutFsync(kit.broker.resultUrl);
  for (const [cap, expired] of sizes) await play(kit, version, cap, expired);
}

async function play(kit: Kit, version: '5.2' | '5.6', cap: string, expired: number): Promise<void> {
  const { brokerUrl, resultUrl } = kit.broker;
  const queue = `celery-${cap}`;
  // With one message a process on its way, a worker on RabbitMQ passes 140 expired tasks a second, and the drill takes an hour.
  const ahead = { LOVAGE_DRILL_PREFETCH: '200' };
  const env = { CELERY_WORKER_REVOKES_MAX: cap, LOVAGE_DRILL_LEDGER: '/dev/null', LOVAGE_DRILL_WORKER: 'py', ...ahead };
  const start = (name: string, url = brokerUrl): Promise<PythonWorker> =>
    startPythonWorker(version, url, resultUrl, { ...APP, queue, name: `${name}-${cap}@%h` }, env);
  /** What a worker pulls that starts now. */
  const pulledBy = async (name: string): Promise<number> => {
    const traffic = await watchTraffic(kit.broker);
    const worker = await start(name, traffic.brokerUrl);
    await pause(MINGLE_MS);
    await worker.stop();
    await traffic.close();
    return traffic.pulled();
  };
  const peers = [];
  try {
    for (let peer = 1; peer <= PEERS; peer += 1) peers.push(await start(`peer${peer}`));
    const before = { pulled: await pulledBy('before'), resident: peers.map(residentMiB) };
    await sendExpired(kit, queue, expired);
    await pause(MINGLE_MS);
    const grown = Math.max(...peers.map((peer, index) => residentMiB(peer) - (before.resident[index] as number)));
    const pulled = (await pulledBy('after')) - before.pulled;
    const name = `Celery ${version}, cap of ${cap} ids, ${expired} expired tasks`;
    kit.figure(`${name}: resident memory of a worker grows by`, Math.round(grown * 10) / 10, 'MiB');
    kit.figure(`${name}: a worker that starts pulls from each peer`, Math.round(pulled / PEERS / 1_024), 'KiB');
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
  }
}
