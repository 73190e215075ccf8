/** Result-store suite: waiting for results. Woken, told of updates, aborted, and nothing left behind. */
import { getEventListeners, setMaxListeners } from 'node:events';
import { describe, expect } from 'vitest';
import { expectCode, until } from './broker-kit.js';
import { expectStored, meta, openWriter, type ResultStoreFixture, type ResultSuite, uniqueId } from './result-fixture.js';

export function waitingSuite({ it, can, patienceMs }: ResultSuite): void {
  /** Aborts when the suite's patience is over, so that a wait that is never woken fails instead of hanging. */
  const patient = (): AbortSignal => AbortSignal.timeout(patienceMs);
  const noWaits = (fixture: ResultStoreFixture): Promise<void> =>
    until(async () => (await fixture.openWaits()) === 0, 'no wait to be left', patienceMs);

  describe('waiting', () => {
    it('resolves at once with a result that is there already', async (fixture) => {
      const writer = await openWriter(fixture);
      for (const state of ['SUCCESS', 'FAILURE', 'REVOKED']) {
        const id = uniqueId('there');
        await writer.write(id, state);
        await writer.arrived();
        expect(await fixture.store.wait(id, { signal: patient() })).toBe(meta(id, state));
      }
      await noWaits(fixture);
    });

    it('is woken by each of 40 results that come one after the other', async (fixture) => {
      const writer = await openWriter(fixture);
      const startMs = performance.now();
      for (let round = 0; round < 40; round += 1) {
        const id = uniqueId('woken');
        const waiting = fixture.store.wait(id, { signal: patient() });
        // half of them a turn later, when the wait is surely registered
        if (round % 2 === 1) await fixture.store.get([id]);
        await writer.write(id, 'SUCCESS');
        expect(await waiting).toBe(meta(id, 'SUCCESS'));
      }
      // by polling every 200 ms it would have been 4 s on average
      expect(performance.now() - startMs).toBeLessThan(3_500);
      await noWaits(fixture);
    });

    it('tells of states on the way, in order, and does not take them for the end', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('updates');
      const heard: string[] = [];
      const states = ['STARTED', 'PROGRESS', 'RETRY', 'MY-STATE'];
      const waiting = fixture.store.wait(id, { signal: patient() }, (update) => heard.push(update));
      for (const [index, state] of states.entries()) {
        await writer.write(id, state);
        await until(
          () => heard.includes(meta(id, state)),
          () => `to hear of ${state}, heard ${heard.length}`,
          patienceMs,
        );
        expect([...new Set(heard)]).toEqual(states.slice(0, index + 1).map((one) => meta(id, one)));
      }
      await writer.write(id, 'SUCCESS');
      expect(await waiting).toBe(meta(id, 'SUCCESS'));
      expect(heard).not.toContain(meta(id, 'SUCCESS'));
      await noWaits(fixture);
    });

    it('wakes all who wait for one result, and nobody else', async (fixture) => {
      const writer = await openWriter(fixture);
      const [id, other] = [uniqueId('shared'), uniqueId('other')];
      const controller = new AbortController();
      const unrelated = fixture.store.wait(other, { signal: controller.signal });
      const waits = [1, 2, 3].map(() => fixture.store.wait(id, { signal: patient() }));
      await writer.write(id, 'SUCCESS');
      expect(await Promise.all(waits)).toEqual([1, 2, 3].map(() => meta(id, 'SUCCESS')));
      controller.abort(new Error('not woken'));
      await expect(unrelated).rejects.toThrow('not woken');
      await noWaits(fixture);
    });

    can('readableByAnyone', 'wakes those who wait on other connections', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('elsewhere');
      const third = await fixture.another();
      const waits = [fixture.store, third, writer.store].map((store) => store.wait(id, { signal: patient() }));
      await writer.write(id, 'SUCCESS');
      expect(await Promise.all(waits)).toEqual([1, 2, 3].map(() => meta(id, 'SUCCESS')));
      await noWaits(fixture);
    });

    can('fence', 'is not ended by a result that was refused', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('refused');
      await writer.store.claim(id, { ttlMs: 60_000 });
      const waiting = fixture.store.wait(id, { signal: patient() });
      expect(await writer.write(id, 'FAILURE')).toBe('fenced');
      expect(await writer.write(id, 'SUCCESS', { epoch: 1 })).toBe('stored');
      expect(await waiting).toBe(meta(id, 'SUCCESS'));
    });

    it('wakes for the next result after a forgotten one', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('again');
      await writer.write(id, 'SUCCESS');
      await writer.arrived();
      await fixture.store.forget([id]);
      const waiting = fixture.store.wait(id, { signal: patient() });
      await writer.write(id, 'FAILURE');
      expect(await waiting).toBe(meta(id, 'FAILURE'));
    });
  });

  describe('giving up', () => {
    it('rejects with the signal’s reason, also when it is aborted already', async (fixture) => {
      const id = uniqueId('abort');
      const reason = new Error('the caller gave up');
      const controller = new AbortController();
      const waiting = fixture.store.wait(id, { signal: controller.signal });
      setImmediate(() => controller.abort(reason));
      await expect(waiting).rejects.toBe(reason);
      await expect(fixture.store.wait(id, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
      await noWaits(fixture);
    });

    it('does not disturb another wait for the same result', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('stays');
      const controller = new AbortController();
      const leaving = fixture.store.wait(id, { signal: controller.signal });
      const staying = fixture.store.wait(id, { signal: patient() });
      controller.abort(new Error('gave up'));
      await expect(leaving).rejects.toThrow('gave up');
      await writer.write(id, 'SUCCESS');
      expect(await staying).toBe(meta(id, 'SUCCESS'));
      await noWaits(fixture);
    });

    it('rejects with E_CLOSED what still waits when the store is closed', async (fixture) => {
      const waits = ['a', 'b'].map((label) => fixture.store.wait(uniqueId(label), { signal: patient() }));
      const outcomes = Promise.all(waits.map((waiting) => expectCode(waiting, 'E_CLOSED')));
      await fixture.store.get([uniqueId('registered')]);
      await fixture.store.close();
      await outcomes;
      await noWaits(fixture);
    });
  });

  describe('many waits', () => {
    it('wakes 1,000 at once, each with its own result, and leaves no listener behind', async (fixture) => {
      const writer = await openWriter(fixture);
      const list = Array.from({ length: 1_000 }, () => uniqueId('many'));
      const { signal } = new AbortController();
      setMaxListeners(0, signal);
      const waits = list.map((id) => fixture.store.wait(id, { signal }));
      for (let at = 0; at < list.length; at += 100) {
        await writer.writeAll(list.slice(at, at + 100).map((id) => [id, 'SUCCESS'] as const));
      }
      expect(await Promise.all(waits)).toEqual(list.map((id) => meta(id, 'SUCCESS')));
      expect(getEventListeners(signal, 'abort')).toHaveLength(0);
      await noWaits(fixture);
    });

    it('lets 1,000 give up at once and leaves no listener behind', async (fixture) => {
      const controller = new AbortController();
      setMaxListeners(0, controller.signal);
      const waits = Array.from({ length: 1_000 }, () => fixture.store.wait(uniqueId('many'), { signal: controller.signal }));
      const outcomes = Promise.allSettled(waits);
      await fixture.store.get([uniqueId('registered')]);
      controller.abort(new Error('gave up'));
      expect((await outcomes).filter(({ status }) => status === 'rejected')).toHaveLength(1_000);
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
      await noWaits(fixture);
    });

    can('connections', 'survive connections that break', async (fixture) => {
      const writer = await openWriter(fixture);
      const [during, after] = [uniqueId('during'), uniqueId('after')];
      const waits = [during, after].map((id) => fixture.store.wait(id, { signal: AbortSignal.timeout(patienceMs + 5_000) }));
      await fixture.store.get([during]);
      await (fixture.breakConnections as NonNullable<ResultStoreFixture['breakConnections']>)();
      // a writer may be told that its connection broke; it writes again, as the engine does
      await until(
        () =>
          writer.write(during, 'SUCCESS').then(
            () => true,
            () => false,
          ),
        'a write to be taken after the break',
        patienceMs,
      );
      await writer.write(after, 'SUCCESS');
      expect(await Promise.all(waits)).toEqual([meta(during, 'SUCCESS'), meta(after, 'SUCCESS')]);
      await expectStored(fixture.store, after, meta(after, 'SUCCESS'), patienceMs);
      await noWaits(fixture);
    });
  });
}
