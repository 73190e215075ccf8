/** Result-store suite: what is stored, what may be written over what, how long it is kept. */
import { describe, expect } from 'vitest';
import { expectCode, until, untilWall } from './broker-kit.js';
import { expectStored, meta, openWriter, type ResultSuite, uniqueId } from './result-fixture.js';

export function storingSuite({ it, can, has, patienceMs }: ResultSuite): void {
  describe('storing', () => {
    it('gives metas in the order asked, and null where nothing is stored', async (fixture) => {
      const writer = await openWriter(fixture);
      const [a, b, none] = [uniqueId('a'), uniqueId('b'), uniqueId('none')];
      expect(
        await writer.writeAll([
          [a, 'SUCCESS'],
          [b, 'STARTED'],
        ]),
      ).toEqual(['stored', 'stored']);
      await writer.arrived();
      const [metaA, metaB] = [meta(a, 'SUCCESS'), meta(b, 'STARTED')];
      expect(await fixture.store.get([b, none, a, b])).toEqual([metaB, null, metaA, metaB]);
    });

    it('answers empty batches with empty lists', async ({ store }) => {
      expect(await store.set([])).toEqual([]);
      expect(await store.get([])).toEqual([]);
      await store.forget([]);
    });

    it('keeps a meta to the byte: all planes of Unicode, and a megabyte', async (fixture) => {
      const writer = await openWriter(fixture);
      const [odd, large] = [uniqueId('odd'), uniqueId('large')];
      const oddMeta = meta(odd, 'SUCCESS', 'naïve ☃ 𝄞 \u0000 \u2028 "quoted" \\ 12345678901234567890');
      const largeMeta = meta(large, 'SUCCESS', 'é'.repeat(2 ** 19));
      await writer.writeAll([
        [odd, 'SUCCESS', { meta: oddMeta }],
        [large, 'SUCCESS', { meta: largeMeta }],
      ]);
      await expectStored(fixture.store, odd, oddMeta, patienceMs);
      await expectStored(fixture.store, large, largeMeta, patienceMs);
    });

    it('takes ids of any text for what they are', async (fixture) => {
      const writer = await openWriter(fixture);
      const odd = ['__proto__', 'constructor', 'a:b', 'ünï 🌿', "it's", '*', uniqueId('last')].map((id) => uniqueId('x') + id);
      const plain = ['__proto__', 'constructor', 'hasOwnProperty'];
      expect(await fixture.store.get(plain)).toEqual([null, null, null]);
      await writer.writeAll([...odd, ...plain].map((id) => [id, 'SUCCESS'] as const));
      for (const id of [...odd, ...plain]) await expectStored(fixture.store, id, meta(id, 'SUCCESS'), patienceMs);
      await fixture.store.forget([...odd, ...plain]);
    });

    it('writes 2,000 results in batches and gives all of them', async (fixture) => {
      const writer = await openWriter(fixture);
      const list = Array.from({ length: 2_000 }, () => uniqueId('many'));
      for (let at = 0; at < list.length; at += 500) {
        const results = await writer.writeAll(list.slice(at, at + 500).map((id) => [id, 'SUCCESS'] as const));
        expect(new Set(results)).toEqual(new Set(['stored']));
        expect(results).toHaveLength(500);
      }
      await writer.arrived();
      expect(await fixture.store.get(list)).toEqual(list.map((id) => meta(id, 'SUCCESS')));
    });

    it('forgets what it is told to, and takes it again', async (fixture) => {
      const writer = await openWriter(fixture);
      const [gone, kept] = [uniqueId('gone'), uniqueId('kept')];
      await writer.writeAll([
        [gone, 'SUCCESS'],
        [kept, 'SUCCESS'],
      ]);
      await writer.arrived();
      await fixture.store.forget([gone, uniqueId('never')]);
      expect(await fixture.store.get([gone, kept])).toEqual([null, meta(kept, 'SUCCESS')]);
      expect(await writer.write(gone, 'FAILURE')).toBe('stored');
      await expectStored(fixture.store, gone, meta(gone, 'FAILURE'), patienceMs);
    });

    can(
      'readableByAnyone',
      'can be read by whoever knows the id',
      async (fixture) => {
        const writer = await openWriter(fixture);
        const id = uniqueId('public');
        await writer.write(id, 'SUCCESS');
        expect(await (await fixture.another()).get([id])).toEqual([meta(id, 'SUCCESS')]);
      },
      async (fixture) => {
        expect(fixture.store.capabilities.readableByAnyone).not.toBe(true);
        const writer = await openWriter(fixture);
        const id = uniqueId('private');
        await writer.write(id, 'SUCCESS');
        await expectStored(fixture.store, id, meta(id, 'SUCCESS'), patienceMs);
        expect(await (await fixture.another()).get([id])).toEqual([null]);
      },
    );

    can('ttl', 'forgets a result when its time is over, and keeps the others', async (fixture) => {
      const writer = await openWriter(fixture);
      const [short, long, endless] = [uniqueId('short'), uniqueId('long'), uniqueId('endless')];
      const startMs = Date.now();
      await writer.writeAll([
        [short, 'SUCCESS', { ttlMs: 1_000 }],
        [long, 'SUCCESS', { ttlMs: 60_000 }],
        [endless, 'SUCCESS', { ttlMs: null }],
      ]);
      await untilWall(startMs + 800);
      expect((await fixture.store.get([short]))[0] === null && Date.now() < startMs + 1_000).toBe(false);
      await expectStored(fixture.store, short, null, patienceMs);
      expect(await fixture.store.get([long, endless])).toEqual([meta(long, 'SUCCESS'), meta(endless, 'SUCCESS')]);
    });

    can('ttl', 'counts the time of a result from its last write', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('renewed');
      await writer.write(id, 'STARTED', { ttlMs: 700 });
      await writer.write(id, 'SUCCESS', { ttlMs: 60_000 });
      await untilWall(Date.now() + 1_500);
      expect(await fixture.store.get([id])).toEqual([meta(id, 'SUCCESS')]);
    });
  });

  describe('what may be written over what', () => {
    it('follows a task through its states', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('life');
      for (const state of ['STARTED', 'PROGRESS', 'RETRY', 'STARTED', 'SUCCESS']) {
        expect(await writer.write(id, state)).toBe('stored');
        await writer.arrived();
        expect(await fixture.store.get([id])).toEqual([meta(id, state)]);
      }
    });

    it('never writes over a SUCCESS', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('success');
      const first = meta(id, 'SUCCESS', 'the first');
      await writer.write(id, 'SUCCESS', { meta: first });
      const others = [
        await writer.write(id, 'FAILURE'),
        await writer.write(id, 'REVOKED', { epoch: 9 }),
        await writer.write(id, 'STARTED'),
        await writer.write(id, 'SUCCESS', { epoch: 9, meta: meta(id, 'SUCCESS', 'another') }),
      ];
      if (has('fence')) expect(others).toEqual(['final', 'final', 'final', 'final']);
      await writer.arrived();
      expect(await fixture.store.get([id])).toEqual([first]);
    });

    can('fence', 'writes in the order of a batch, by the same rules', async (fixture) => {
      const writer = await openWriter(fixture);
      const [a, b] = [uniqueId('a'), uniqueId('b')];
      expect(
        await writer.writeAll([
          [a, 'STARTED'],
          [b, 'SUCCESS'],
          [a, 'SUCCESS'],
          [b, 'FAILURE'],
        ]),
      ).toEqual(['stored', 'stored', 'stored', 'final']);
      expect(await fixture.store.get([a, b])).toEqual([meta(a, 'SUCCESS'), meta(b, 'SUCCESS')]);
    });

    can('fence', 'lets SUCCESS or a higher epoch, and nothing else, replace a FAILURE', async (fixture) => {
      const writer = await openWriter(fixture);
      const [one, two] = [uniqueId('one'), uniqueId('two')];
      await writer.writeAll([
        [one, 'FAILURE'],
        [two, 'FAILURE'],
      ]);
      expect(
        await writer.writeAll([
          [one, 'REVOKED'],
          [one, 'STARTED'],
          [one, 'FAILURE', { meta: meta(one, 'FAILURE', 2) }],
        ]),
      ).toEqual(['final', 'final', 'final']);
      expect(await fixture.store.get([one])).toEqual([meta(one, 'FAILURE')]);
      expect(
        await writer.writeAll([
          [one, 'SUCCESS'],
          [two, 'REVOKED', { epoch: 1 }],
        ]),
      ).toEqual(['stored', 'stored']);
      expect(await fixture.store.get([one, two])).toEqual([meta(one, 'SUCCESS'), meta(two, 'REVOKED')]);
    });
  });

  describe('claims', () => {
    can(
      'fence',
      'raise the epoch, and refuse the late results of earlier holders',
      async (fixture) => {
        const writer = await openWriter(fixture);
        const id = uniqueId('claimed');
        await writer.write(id, 'STARTED');
        expect(await fixture.store.claim(id, { ttlMs: 60_000 })).toEqual({ epoch: 1 });
        expect(await writer.store.claim(id, { ttlMs: 60_000 })).toEqual({ epoch: 2 });
        expect(await writer.write(id, 'SUCCESS', { epoch: 0, meta: meta(id, 'SUCCESS', 'never claimed') })).toBe('fenced');
        expect(await writer.write(id, 'FAILURE', { epoch: 1 })).toBe('fenced');
        expect(await fixture.store.get([id])).toEqual([meta(id, 'STARTED')]);
        expect(await writer.write(id, 'STARTED', { epoch: 2 })).toBe('stored');
        expect(await writer.write(id, 'SUCCESS', { epoch: 2 })).toBe('stored');
        expect(await fixture.store.get([id])).toEqual([meta(id, 'SUCCESS')]);
      },
      async (fixture) => {
        expect(fixture.store.capabilities.fence).not.toBe(true);
        const claim = await fixture.store.claim(uniqueId('unfenced'), { ttlMs: 60_000 });
        expect('epoch' in claim && claim.epoch).toBeGreaterThanOrEqual(1);
      },
    );

    can('fence', 'fence a first holder that has written nothing yet', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('silent');
      expect(await fixture.store.claim(id, { ttlMs: 60_000 })).toEqual({ epoch: 1 });
      expect(await fixture.store.get([id])).toEqual([null]);
      expect(await writer.write(id, 'SUCCESS')).toBe('fenced');
      expect(await fixture.store.get([id])).toEqual([null]);
    });

    can('fence', 'find a result that is final, and give its meta', async (fixture) => {
      const writer = await openWriter(fixture);
      for (const state of ['SUCCESS', 'FAILURE', 'REVOKED']) {
        const id = uniqueId('final');
        await writer.write(id, state);
        expect(await fixture.store.claim(id, { ttlMs: 60_000 })).toEqual({ final: meta(id, state) });
        expect(await fixture.store.get([id])).toEqual([meta(id, state)]);
      }
    });

    can('fence', 'give every one of 20 claimants at once an epoch of its own', async (fixture) => {
      const id = uniqueId('race');
      const stores = [fixture.store, await fixture.another(), await fixture.another()];
      const claims = await Promise.all(Array.from({ length: 20 }, (_, index) => stores[index % 3]?.claim(id, { ttlMs: 60_000 })));
      const epochs = claims.map((claim) => (claim && 'epoch' in claim ? claim.epoch : 0)).sort((a, b) => a - b);
      expect(epochs).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    });

    can('fence', 'outlive the forgetting of a result, and end with their own time', async (fixture) => {
      const writer = await openWriter(fixture);
      const id = uniqueId('ending');
      const startMs = Date.now();
      await fixture.store.claim(id, { ttlMs: 1_000 });
      await writer.write(id, 'STARTED', { epoch: 1 });
      await fixture.store.forget([id]);
      expect(await writer.write(id, 'STARTED')).toBe('fenced');
      await until(async () => (await writer.write(id, 'STARTED')) === 'stored', 'the claim to end', patienceMs);
      expect(Date.now()).toBeGreaterThanOrEqual(startMs + 900);
    });
  });

  describe('after close()', () => {
    it('refuses everything with E_CLOSED and can be closed again', async ({ store }) => {
      await store.connect({ timeoutMs: 5_000 });
      await store.close();
      await store.close();
      const write = { id: 'x', state: 'SUCCESS', meta: '{}', epoch: 0, ttlMs: 1_000, replyTo: null, correlationId: null };
      await expectCode(store.set([write]), 'E_CLOSED');
      await expectCode(store.get(['x']), 'E_CLOSED');
      await expectCode(store.claim('x', { ttlMs: 1_000 }), 'E_CLOSED');
      await expectCode(store.prepare(), 'E_CLOSED');
      await expectCode(store.forget(['x']), 'E_CLOSED');
      await expectCode(store.connect({ timeoutMs: 1_000 }), 'E_CLOSED');
      await expectCode(store.wait('x', { signal: new AbortController().signal }), 'E_CLOSED');
      await store[Symbol.asyncDispose]();
    });
  });
}
