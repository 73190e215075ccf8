/** A disk that is really full: a file system of two megabytes, where root may mount one. */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openFileBroker } from '../../src/brokers/file/index.js';
import { silentLogger } from '../../src/core/logger.js';
import { openFileResults } from '../../src/results/file/index.js';
import { idOf, integrity, outgoing, take, temporaryFile, until } from './support.js';

/** `null`: mounting is not allowed here. */
function smallDisk(): { path: string; grow(): void; remove(): void } | null {
  const file = temporaryFile();
  const folder = join(file.folder, 'disk');
  mkdirSync(folder);
  const mount = (...parameters: string[]): boolean =>
    spawnSync('/bin/mount', [...parameters, folder], { stdio: 'ignore' }).status === 0;
  if (process.platform !== 'linux' || !mount('-t', 'tmpfs', '-o', 'size=2m', 'tmpfs')) {
    file.remove();
    return null;
  }
  return {
    path: join(folder, 'queue.db'),
    grow: () => void mount('-o', 'remount,size=16m'),
    remove() {
      spawnSync('/bin/umount', ['-l', folder]);
      file.remove();
    },
  };
}

const probe = smallDisk();
probe?.remove();

describe.skipIf(probe === null)('a full disk [needs the right to mount a tmpfs]', () => {
  test.each(['publishing', 'storing a result'])(
    '%s is refused with E_BROKER_FULL; nothing is lost, and all goes on once there is room',
    async (what) => {
      const disk = smallDisk();
      if (!disk) throw new Error('mounting worked a moment ago');
      const options = { url: `file:${disk.path}`, logger: silentLogger, role: 'engine' } as const;
      const broker = await openFileBroker(options);
      const results = await openFileResults(options);
      try {
        const body = 'x'.repeat(20_000);
        const stored: string[] = [];
        let full = false;
        for (let index = 0; !full && index < 500; index += 1) {
          const [result] = await broker.publish([outgoing('q', `m${index}`, body)], { timeoutMs: 5_000 });
          if (result === null) stored.push(`m${index}`);
          else {
            expect(result).toMatchObject({ code: 'E_BROKER_FULL', outcome: 'not-sent' });
            full = true;
          }
        }
        expect(full).toBe(true);
        const write = { id: 'r', state: 'SUCCESS', meta: body, epoch: 0, ttlMs: 60_000, replyTo: null, correlationId: null };
        if (what === 'storing a result') await expect(results.set([write])).rejects.toMatchObject({ code: 'E_BROKER_FULL' });
        const taker = await take(broker, 'q', stored.length);
        // a claim needs a little room too: the consumer says that it cannot, and keeps trying
        await until(() => taker.states.includes('disconnected') || taker.arrivals.length > 0, 'a word from the consumer');
        disk.grow();
        await until(() => taker.arrivals.length === stored.length, 'all that was stored');
        expect(taker.arrivals.map(idOf)).toEqual(stored);
        expect(await results.set([write])).toEqual(['stored']);
        await taker.consumer.settle(taker.arrivals.map((arrival) => ({ kind: 'ack', arrival })));
        expect((await broker.depth(['q']))[0]).toMatchObject({ ready: 0, unacked: 0 });
        expect(await integrity(disk.path)).toBe('ok');
      } finally {
        await results.close();
        await broker.close();
        disk.remove();
      }
    },
  );
});
