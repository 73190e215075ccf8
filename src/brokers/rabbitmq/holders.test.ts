/** Telling who lives: how often the broker is asked, what is remembered, what is no proof of a death. */
import { describe, expect, test } from 'vitest';
import type { SetupChannel } from '../../clients/amqp-setup.js';
import { Holders, isHolder } from './holders.js';

const HOLDER = '00000000-0000-4000-8000-000000000000';
const LEASE_MS = 300;

/** A broker that answers as `answer` says: a reply code, nothing at all, or "it is there". */
function broker(answer: () => number | 'silence' | 'there') {
  let asked = 0;
  const declared: string[] = [];
  const setup = {
    async run(_: number, operation: (channel: object) => Promise<unknown>) {
      const code = (): void => {
        asked += 1;
        const said = answer();
        if (said === 'silence') throw new Error('the connection broke');
        if (said !== 'there') throw Object.assign(new Error('refused'), { code: said });
      };
      return operation({
        checkQueue: async () => code(),
        assertQueue: async (name: string) => void declared.push(name),
      });
    },
  } as unknown as SetupChannel;
  return {
    holders: new Holders(setup),
    declared,
    get asked() {
      return asked;
    },
  };
}

const never = new AbortController().signal;

describe('a holder', () => {
  test.each([
    ['whose queue is there', 'there'],
    ['whose queue belongs to another connection', 405],
    ['whose queue we may not look at', 403],
  ] as const)('%s is not called dead', async (_, code) => {
    expect(await broker(() => code).holders.died(HOLDER, LEASE_MS, never)).toBe(false);
  });

  test('is dead when its queue has not been there for a lease, and not before', async () => {
    const startMs = performance.now();
    expect(await broker(() => 404).holders.died(HOLDER, LEASE_MS, never)).toBe(true);
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(LEASE_MS);
  });

  test('that is known to have been away for a lease is dead at the first look, unless it is back', async () => {
    const gone = broker(() => 404);
    expect(await gone.holders.died(HOLDER, 60_000, never, 60_000)).toBe(true);
    expect(gone.asked).toBe(1);
    expect(await broker(() => 405).holders.died(HOLDER, 60_000, never, 60_000)).toBe(false);
  });

  test('that comes back within the lease lives', async () => {
    let asked = 0;
    expect(await broker(() => (++asked < 3 ? 404 : 405)).holders.died(HOLDER, 2_000, never)).toBe(false);
  });

  test('is not dead because the broker cannot be asked: that time does not count', async () => {
    let asked = 0;
    // Longer silent than a lease, with a glimpse of an empty broker before and after.
    const { holders } = broker(() => {
      asked += 1;
      return asked === 1 || asked === 8 ? 404 : asked < 8 ? 'silence' : 'there';
    });
    expect(await holders.died(HOLDER, LEASE_MS, never)).toBe(false);
  });

  test('that is ourselves is not asked for', async () => {
    const { holders, ...asking } = broker(() => 404);
    expect(await holders.died(holders.id, LEASE_MS, never)).toBe(false);
    expect(asking.asked).toBe(0);
  });

  test('is looked for once for all that name it; a death is remembered for a lease, a life not at all', async () => {
    const dead = broker(() => 404);
    await Promise.all(Array.from({ length: 1_000 }, () => dead.holders.died(HOLDER, LEASE_MS, never)));
    const { asked } = dead;
    expect(asked).toBeLessThan(10);
    expect(await dead.holders.died(HOLDER, LEASE_MS, never)).toBe(true);
    expect(dead.asked).toBe(asked);
    await new Promise((resolve) => setTimeout(resolve, LEASE_MS + 50));
    expect(await dead.holders.died(HOLDER, LEASE_MS, never)).toBe(true);
    expect(dead.asked).toBeGreaterThan(asked);

    const alive = broker(() => 405);
    await alive.holders.died(HOLDER, LEASE_MS, never);
    await alive.holders.died(HOLDER, LEASE_MS, never);
    expect(alive.asked).toBe(2);
  });

  test('is not looked for any longer once nobody waits', async () => {
    const asking = broker(() => 404);
    const over = new AbortController();
    const look = asking.holders.died(HOLDER, 60_000, over.signal);
    over.abort(new Error('over'));
    await expect(look).rejects.toThrow('over');
    // Another one begins anew.
    const again = new AbortController();
    const second = asking.holders.died(HOLDER, 60_000, again.signal);
    again.abort(new Error('over again'));
    await expect(second).rejects.toThrow('over again');
  });
});

test('the sign of life is declared once a connection, and only by who has claimed something', async () => {
  const { holders, declared } = broker(() => 404);
  holders.reconnected();
  expect(declared).toEqual([]);
  await Promise.all([holders.show(), holders.show()]);
  await holders.show();
  expect(declared).toEqual([`lovage.node.${holders.id}`]);
  holders.hidden();
  holders.reconnected();
  await holders.show();
  expect(declared).toHaveLength(2);
});

test('only what looks like an id of ours is one', () => {
  expect(isHolder(new Holders({} as SetupChannel).id)).toBe(true);
  for (const value of [undefined, null, 1, {}, '', 'celery', 'x'.repeat(36), 'a'.repeat(300)])
    expect(isHolder(value)).toBe(false);
});
