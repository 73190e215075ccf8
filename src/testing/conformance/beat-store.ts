/**
 * The conformance suite of stores of schedules: every sentence of `beat/beat-store.ts` as a test. A driver is finished when it passes.
 */
import { describe, expect, test } from 'vitest';
import {
  type BeatListener,
  type BeatStore,
  type EntryChange,
  type Firing,
  type Lead,
  MOST_CHANGES,
  MOST_REQUESTS,
} from '../../beat/beat-store.js';
import type { OutgoingMessage } from '../../brokers/broker.js';
import { encodeTaskMessage } from '../../wire/task-message.js';
import { until } from './broker-kit.js';

/** A place to try, made anew for each test. */
export interface BeatStoreFixture {
  readonly store: BeatStore;
  /** Another connection to the same schedules, as another scheduler's process would have it. */
  another(): Promise<BeatStore>;
  /** The same place, of another app. */
  ofAnotherApp(): Promise<BeatStore>;
  /** Ids of the tasks that wait in this queue of the broker beside it; absent where there is none. */
  sent?(queue: string): Promise<readonly string[]>;
  close(): Promise<void>;
}

const PATIENCE_MS = 10_000;
const put = (id: string, definition = `{"of":"${id}"}`, expect?: number): EntryChange => ({
  ...{ kind: 'put', id, definition, paused: false },
  ...(expect === undefined ? {} : { expect }),
});
const firing = (id: string, revision: number, seq: number, more: Partial<Firing> = {}): Firing => ({
  ...{ id, revision, seq, state: `{"seq":${seq + 1}}`, messages: [], request: null },
  ...more,
});

function message(id: string, queue: string): OutgoingMessage {
  const task = { task: 'a.task', id, args: [], kwargs: {}, eta: null, expires: null, timeLimitMs: null, softTimeLimitMs: null };
  const rest = { rootId: id, parentId: null, ignoreResult: false, replyTo: null, origin: 'suite', headers: null };
  const settings = { nowMs: Date.now(), json: 'tagged', maxMessageBytes: 100_000 } as const;
  return { to: { queue }, message: encodeTaskMessage({ ...task, ...rest }, settings) };
}

/** What a listener heard. */
class Ears implements BeatListener {
  readonly leads: Lead[] = [];
  changes = 0;
  ups = 0;
  onLead(lead: Lead): void {
    this.leads.push(lead);
  }
  onChange(): void {
    this.changes += 1;
  }
  onUp(): void {
    this.ups += 1;
  }
  onDown(): void {}
}

async function listening(store: BeatStore): Promise<Ears> {
  const ears = new Ears();
  await store.listen(ears);
  await until(() => ears.ups > 0, 'the listener is up', PATIENCE_MS);
  return ears;
}

/** Registers the suite with vitest. @param open makes a fixture for each test; it is closed after it */
export function beatStoreConformance(name: string, open: () => Promise<BeatStoreFixture>): void {
  const it = (title: string, body: (fixture: BeatStoreFixture) => Promise<void>): void =>
    test(title, { timeout: 30_000 }, async () => {
      const fixture = await open();
      try {
        await body(fixture);
      } finally {
        await fixture.close();
      }
    });

  describe(`store of schedules ${name}`, () => {
    it('keeps entries for everybody, and gives each edit another revision', async ({ store, another }) => {
      expect(await store.load()).toMatchObject({ entries: [], requests: [] });
      expect(await store.change([put('a'), put('b')])).toEqual(['done', 'done']);
      const other = await another();
      const { entries } = await other.load();
      expect(entries.map(({ id }) => id).sort()).toEqual(['a', 'b']);
      const [before] = entries.filter(({ id }) => id === 'a');
      expect(before).toMatchObject({ paused: false, definition: '{"of":"a"}', seq: 0, state: null });
      expect(await other.change([{ kind: 'put', id: 'a', definition: 'ä:2', paused: true }])).toEqual(['done']);
      const after = await store.get('a');
      expect(after).toMatchObject({ paused: true, definition: 'ä:2' });
      expect(after?.revision).toBeGreaterThan(before?.revision ?? Infinity);
      expect(await store.get('c')).toBeNull();
    });

    it('takes an edit only of the revision that was seen', async ({ store }) => {
      expect(await store.change([put('a', '1', 0), put('a', '2', 0)])).toEqual(['done', 'conflict']);
      const seen = (await store.get('a'))?.revision ?? 0;
      expect(await store.change([put('a', '3', seen), put('a', '4', seen)])).toEqual(['done', 'conflict']);
      expect((await store.get('a'))?.definition).toBe('3');
      expect(await store.change([{ kind: 'remove', id: 'a', expect: seen }])).toEqual(['conflict']);
      expect(
        await store.change([
          { kind: 'remove', id: 'a' },
          { kind: 'remove', id: 'a' },
        ]),
      ).toEqual(['done', 'missing']);
    });

    it('tells what was changed since a version, and asks to load again when that is too much', async ({ store }) => {
      await store.change([put('a'), put('b')]);
      const { version } = await store.load();
      expect(await store.changesSince(version)).toMatchObject({ entries: [], removed: [], version });
      await store.change([put('c'), { kind: 'remove', id: 'a' }, put('b', 'new')]);
      const news = await store.changesSince(version);
      expect(news?.entries.map(({ id, definition }) => [id, definition]).sort()).toEqual([
        ['b', 'new'],
        ['c', '{"of":"c"}'],
      ]);
      expect(news?.removed).toEqual(['a']);
      await store.change(Array.from({ length: MOST_CHANGES + 1 }, (_, n) => put(`n${n}`)));
      expect(await store.changesSince(version)).toBeNull();
      expect(await store.changesSince((news?.version ?? 0) + 10 * MOST_CHANGES)).toBeNull();
    });

    it('tells listeners of changes without being asked', async ({ store, another }) => {
      const ears = await listening(await another());
      await store.change([put('a')]);
      await until(() => ears.changes > 0, 'the change was heard', PATIENCE_MS);
    });

    it('gives the lead to one at a time, each in a higher epoch', async ({ store, another }) => {
      const other = await another();
      expect(await store.lead()).toEqual({ owner: null, epoch: 0 });
      expect(await store.takeLead('one', 0)).toEqual({ owner: 'one', epoch: 1 });
      expect(await other.takeLead('two', 0)).toEqual({ owner: 'one', epoch: 1 });
      expect(await other.takeLead('two', 1)).toEqual({ owner: 'two', epoch: 2 });
      await store.resign({ owner: 'one', epoch: 1 });
      expect(await store.lead()).toEqual({ owner: 'two', epoch: 2 });
      await other.resign({ owner: 'two', epoch: 2 });
      expect(await store.lead()).toEqual({ owner: null, epoch: 2 });
    });

    it('tells listeners who leads, that it lives, and that it has gone', async ({ store, another }) => {
      const ears = await listening(await another());
      const lead = await store.takeLead('one', 0);
      await until(() => ears.leads.some(({ owner }) => owner === 'one'), 'the new lead was heard', PATIENCE_MS);
      const heard = ears.leads.length;
      await store.beat(lead);
      await until(() => ears.leads.length > heard, 'the sign of life was heard', PATIENCE_MS);
      await store.resign(lead);
      await until(() => ears.leads.at(-1)?.owner === null, 'the resignation was heard', PATIENCE_MS);
    });

    it('decides for the epoch that leads, and refuses an older one', async ({ store, another }) => {
      await store.change([put('a')]);
      const revision = (await store.get('a'))?.revision ?? 0;
      expect(await store.fire(0, [firing('a', revision, 0)])).toBeNull();
      const { epoch } = await store.takeLead('one', 0);
      expect(await store.fire(epoch, [firing('a', revision, 0)])).toEqual(['done']);
      expect(await store.get('a')).toMatchObject({ seq: 1, state: '{"seq":1}' });
      await (await another()).takeLead('two', epoch);
      expect(await store.fire(epoch, [firing('a', revision, 1)])).toBeNull();
      expect((await store.get('a'))?.seq).toBe(1);
      await store.resign({ owner: 'two', epoch: epoch + 1 });
      expect(await store.fire(epoch + 1, [firing('a', revision, 1)])).toBeNull();
    });

    it('refuses a decision of an entry that was edited, decided or removed since', async ({ store }) => {
      await store.change([put('a'), put('b'), put('c')]);
      const { epoch } = await store.takeLead('one', 0);
      const at = async (id: string): Promise<number> => (await store.get(id))?.revision ?? 0;
      const [a, b, c] = [await at('a'), await at('b'), await at('c')];
      await store.change([put('b', 'edited'), { kind: 'remove', id: 'c' }]);
      const firings = [firing('a', a, 0), firing('a', a, 0), firing('b', b, 0), firing('c', c, 0)];
      expect(await store.fire(epoch, firings)).toEqual(['done', 'stale', 'stale', 'stale']);
      expect((await store.get('b'))?.state).toBeNull();
    });

    it('keeps what was decided through edits, and forgets it with the entry', async ({ store }) => {
      await store.change([put('a')]);
      const { epoch } = await store.takeLead('one', 0);
      await store.fire(epoch, [firing('a', (await store.get('a'))?.revision ?? 0, 0)]);
      await store.change([put('a', 'edited')]);
      expect(await store.get('a')).toMatchObject({ seq: 1, state: '{"seq":1}', definition: 'edited' });
      await store.change([{ kind: 'remove', id: 'a' }, put('a')]);
      expect(await store.get('a')).toMatchObject({ seq: 0, state: null });
    });

    it('keeps a wish to run until it is answered, once, or its entry is removed', async ({ store, another }) => {
      const wish = (id: string, request: string): EntryChange => ({ kind: 'run', id, request });
      expect(await store.change([wish('a', 'r1'), put('a'), put('b'), wish('a', 'r1'), wish('b', 'r2')])).toEqual([
        'missing',
        'done',
        'done',
        'done',
        'done',
      ]);
      const byId = async (): Promise<string[]> => (await (await another()).load()).requests.map(({ id }) => id).sort();
      expect(await byId()).toEqual(['r1', 'r2']);
      const { epoch } = await store.takeLead('one', 0);
      const revision = (await store.get('a'))?.revision ?? 0;
      expect(await store.fire(epoch, [firing('a', revision, 0, { request: 'r1' })])).toEqual(['done']);
      expect(await store.fire(epoch, [firing('a', revision, 1, { request: 'r1' })])).toEqual(['stale']);
      await store.change([{ kind: 'remove', id: 'b' }]);
      expect(await byId()).toEqual([]);
    });

    it('keeps so many wishes and no more', async ({ store }) => {
      await store.change([put('a')]);
      const wishes = Array.from(
        { length: MOST_REQUESTS + 1 },
        (_, n): EntryChange => ({ kind: 'run', id: 'a', request: `r${n}` }),
      );
      const answers = await store.change(wishes);
      expect(answers.filter((answer) => answer === 'done')).toHaveLength(MOST_REQUESTS);
      expect(answers.at(-1)).toBe('full');
    });

    it('keeps the schedules of apps apart', async ({ store, ofAnotherApp }) => {
      const other = await ofAnotherApp();
      await store.change([put('a')]);
      await store.takeLead('one', 0);
      expect((await other.load()).entries).toEqual([]);
      expect(await other.lead()).toEqual({ owner: null, epoch: 0 });
    });

    it('hands messages over in one step with the decision, where it says so', async ({ store, sent }) => {
      if (store.handsOver !== true || sent === undefined) {
        expect(store.handsOver).toEqual(expect.any(String));
        return;
      }
      await store.change([put('a')]);
      const revision = (await store.get('a'))?.revision ?? 0;
      const { epoch } = await store.takeLead('one', 0);
      const messages = [message('t1', 'q1'), message('t2', 'q2')];
      await store.fire(epoch, [firing('a', revision, 0, { messages })]);
      expect([...(await sent('q1')), ...(await sent('q2'))]).toEqual(['t1', 't2']);
      await store.fire(epoch, [firing('a', revision, 0, { messages })]);
      expect(await store.fire(epoch - 1, [firing('a', revision, 1, { messages })])).toBeNull();
      expect(await sent('q1')).toEqual(['t1']);
    });

    it('refuses work after close', async ({ another }) => {
      const store = await another();
      await store.close();
      await expect(store.load()).rejects.toMatchObject({ code: 'E_CLOSED' });
      await expect(store.lead()).rejects.toMatchObject({ code: 'E_CLOSED' });
    });
  });
}
