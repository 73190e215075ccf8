/** Publish hooks around workflows: which tasks they see, what a change does, and what a refusal does. */
import { expect, test } from 'vitest';
import { argumentsOf, refusal, scriptedApp } from '../../testing/scripted-gateway.js';
import { decodeTaskBody } from '../../wire/task-message.js';
import type { Middleware, PublishRequest } from '../middleware.js';
import { chain, chord, group } from './signature.js';

function setUp(...middleware: Middleware[]) {
  const { app, gateway } = scriptedApp({ middleware });
  const add = app.fn('add', (x: number, y: number) => x + y);
  const sum = app.fn('sum', (numbers: readonly number[]) => numbers.length);
  const alarm = app.fn('alarm', (_id: string) => {});
  return { app, gateway, add, sum, alarm };
}

function seeing(): { readonly seen: PublishRequest[]; readonly hook: Middleware } {
  const seen: PublishRequest[] = [];
  const publish: Middleware['publish'] = (request, next) => {
    seen.push(request);
    return next(request);
  };
  return { seen, hook: { name: 'see', publish } };
}

test('a hook sees every task of a workflow once: steps, members, bodies, callbacks and errbacks', async () => {
  const { seen, hook } = seeing();
  const { gateway, add, sum, alarm } = setUp(hook);
  const parts = group(add.s(1), chain(add.s(2), add.s(3)));
  const made = chain(add.si(1, 1), parts, sum.s())
    .link(sum.with({ queue: 'after' }).si([]))
    .onError(alarm.s());
  const handle = await made.send();
  expect(seen.map(({ task, args, queue }) => `${task} ${JSON.stringify(args)} ${queue}`).sort()).toEqual([
    ...['add [1,1] lovage', 'add [1] lovage', 'add [2] lovage', 'add [3] lovage', 'alarm [] lovage'],
    ...['sum [[]] after', 'sum [] lovage'],
  ]);
  expect(seen.find(({ task, queue }) => task === 'sum' && queue === 'lovage')?.id).toBe(handle.id);
  expect(
    seen
      .filter(({ id }) => id === '')
      .map(({ task }) => task)
      .sort(),
  ).toEqual(['alarm', 'sum']);
  expect(gateway.sent).toHaveLength(1);
});

test('what it changes stays with each task, also with those that are sent later', async () => {
  const { gateway, add, alarm } = setUp({
    name: 'carry',
    publish: (request, next) =>
      next({ ...request, queue: `q-${request.task}`, priority: 9, headers: { ...request.headers, tenant: 'acme' } }),
  });
  await chain(add.with({ headers: { own: 1 } }).si(1, 2), add.s(3))
    .onError(alarm.s())
    .send();
  const [first] = gateway.sent;
  expect(first).toMatchObject({ to: { queue: 'q-add' }, priority: 9, message: { headers: { tenant: 'acme', own: 1 } } });
  const { embed } = decodeTaskBody((first as NonNullable<typeof first>).message);
  const options = { queue: 'q-add', priority: 9, headers: { tenant: 'acme' } };
  expect(embed.chain).toMatchObject([{ task: 'add', options }]);
  expect(embed.errbacks).toMatchObject([{ task: 'alarm', options: { ...options, queue: 'q-alarm' } }]);
});

test('arguments that it changes are those that run, and priorities are in the broker’s own sense', async () => {
  const { app, gateway } = scriptedApp({
    broker: 'redis://unused',
    middleware: [{ name: 'args', publish: (request, next) => next({ ...request, args: [5, 5], priority: 8 }) }],
  });
  const add = app.fn('add', (x: number, y: number) => x + y);
  await add.with({ priority: 2 }).si(1, 2).send();
  expect(argumentsOf(gateway.sent[0]).args).toEqual([5, 5]);
  expect(gateway.sent[0]?.priority).toBe(8);
});

test('the body of a chord is changed in every part that carries it, and for the store that counts', async () => {
  const { gateway, add, sum } = setUp({
    name: 'tenant',
    publish: (request, next) => next({ ...request, headers: { tenant: request.task } }),
  });
  await chord(group([add.si(1, 1), add.si(2, 2)]), sum.s()).send();
  expect(gateway.sent).toHaveLength(2);
  for (const { message } of gateway.sent)
    expect(decodeTaskBody(message).embed.chord).toMatchObject({ task: 'sum', options: { headers: { tenant: 'sum' } } });
  expect(gateway.openedChords[0]?.body).toContain('"tenant":"sum"');
});

test('one that refuses a step refuses the workflow: nothing is sent, and the hooks around the others hear of it', async () => {
  const heard: string[] = [];
  const outer: Middleware = {
    name: 'outer',
    publish: async (request, next) => {
      try {
        await next(request);
      } catch (error) {
        heard.push(`${request.task}: ${(error as Error).message}`);
        throw error;
      }
    },
  };
  const inner: Middleware = {
    name: 'inner',
    publish: async (request, next) => {
      if (request.task === 'alarm') throw new Error('no alarms');
      await next(request);
    },
  };
  const { gateway, add, sum, alarm } = setUp(outer, inner);
  const error = await refusal(() =>
    chord(group([add.si(1, 1)]), sum.s())
      .onError(alarm.s())
      .send(),
  );
  expect(error.message).toBe('no alarms');
  expect([gateway.sent.length, gateway.openedChords.length]).toEqual([0, 0]);
  expect(heard.sort()).toEqual(['add: no alarms', 'alarm: no alarms', 'sum: no alarms']);
});

test('next() resolves when what can be sent at once was confirmed, and rejects when it was not', async () => {
  const order: string[] = [];
  const hook: Middleware = {
    name: 'order',
    publish: async (request, next) => {
      order.push(`${request.task} in`);
      await next(request).then(
        () => order.push(`${request.task} sent`),
        (error: Error) => {
          order.push(`${request.task} failed`);
          throw error;
        },
      );
    },
  };
  const { gateway, add, sum } = setUp(hook);
  gateway.onPublish = ({ messages }) => {
    order.push('publish');
    return messages.map(() => null);
  };
  await chain(add.si(1, 2), sum.si([])).send();
  expect(order).toEqual(['add in', 'sum in', 'publish', 'add sent', 'sum sent']);
  order.length = 0;
  gateway.onPublish = () => Promise.reject(new Error('down'));
  expect((await refusal(() => chain(add.si(1, 2), sum.si([])).send())).message).toContain('down');
  expect(order).toEqual(['add in', 'sum in', 'add failed', 'sum failed']);
});

test('one that forgets next(), or gives a step another id or a bad header, is told so', async () => {
  const forgets = setUp({ name: 'forgets', publish: async () => {} });
  expect(await refusal(() => forgets.add.si(1, 2).send())).toMatchObject({ code: 'E_PUBLISH_FAILED' });
  const late = setUp({
    name: 'late',
    publish: async (request, next) => {
      await next(request);
      throw new Error('after it was sent');
    },
  });
  expect((await refusal(() => late.add.si(1, 2).send())).message).toBe('after it was sent');
  expect(late.gateway.sent).toHaveLength(1);
  const renames = setUp({ name: 'renames', publish: (request, next) => next({ ...request, id: 'mine' }) });
  expect(await refusal(() => renames.add.si(1, 2).send())).toMatchObject({ code: 'E_CONFIG_CONFLICT' });
  const swallows = setUp(
    { name: 'swallows', publish: (request, next) => next(request).catch(() => {}) },
    { name: 'refuses', publish: () => Promise.reject(new Error('no')) },
  );
  expect(await refusal(() => swallows.add.si(1, 2).send())).toMatchObject({ code: 'E_PUBLISH_FAILED', outcome: 'not-sent' });
  const breaks = setUp({ name: 'breaks', publish: (request, next) => next({ ...request, headers: { id: 'x' } }) });
  expect(await refusal(() => breaks.add.si(1, 2).send())).toMatchObject({ code: 'E_CONFIG_CONFLICT' });
  for (const { gateway } of [forgets, renames, breaks]) expect(gateway.sent).toHaveLength(0);
});

test('marks of ours are no headers of the caller: hooks do not see them, and they stay', async () => {
  const { seen, hook } = seeing();
  const { app, gateway } = setUp(hook);
  const json = { task: 'add', args: [1, 2], options: { task_id: 'again', headers: { lovage_resent: true, own: 1 } } };
  await app.signature(json).send();
  expect(seen[0]?.headers).toEqual({ own: 1 });
  expect(gateway.sent[0]?.message.headers).toMatchObject({ own: 1, lovage_resent: true });
});
