import { describe, expect, test } from 'vitest';
import type { PublishResult } from '../brokers/broker.js';
import { BrokerError, PublishError } from '../core/errors.js';
import { ScriptedGateway, scriptedApp } from '../testing/scripted-gateway.js';
import type { AppOptions } from './config.js';
import { activeRun, MAX_CHILDREN, type TaskContext } from './task-context.js';

function setUp(options: AppOptions = {}) {
  const { app, gateway } = scriptedApp(options);
  return { app, gateway, task: app.fn('t', (_x?: number) => 1) };
}

const failure = (promise: Promise<unknown>): Promise<PublishError> =>
  promise.then(
    () => Promise.reject(new Error('it succeeded')),
    (error: PublishError) => error,
  );

describe('batches', () => {
  test('all sends of one tick share one publish, in order', async () => {
    const { gateway, task } = setUp();
    const handles = await Promise.all(Array.from({ length: 100 }, (_, x) => task.send(x)));
    expect(gateway.publishes).toHaveLength(1);
    expect(gateway.sent.map(({ message }) => message.headers.id)).toEqual(handles.map(({ id }) => id));
  });

  test('sends that go on from the promises of a batch share the next one', async () => {
    const { gateway, task } = setUp();
    let left = 1_000;
    const chain = async (): Promise<void> => {
      while (left-- > 0) {
        // different depths of promises, as in real code
        await task
          .send(left)
          .then((handle) => handle.id)
          .then(String);
        await null;
      }
    };
    await Promise.all(Array.from({ length: 100 }, chain));
    expect(gateway.sent).toHaveLength(1_000);
    expect(gateway.publishes).toHaveLength(10);
  });

  test('a batch has an upper size', async () => {
    const { gateway, task } = setUp();
    await Promise.all(Array.from({ length: 2_500 }, () => task.send()));
    expect(gateway.publishes.map(({ messages }) => messages.length)).toEqual([1_000, 1_000, 500]);
  });

  test('each deadline and each signal has its own publish', async () => {
    const { gateway, task } = setUp();
    const { signal } = new AbortController();
    const short = task.with({ timeout: '1s' });
    const watched = task.with({ signal });
    await Promise.all([task.send(), short.send(), task.send(), watched.send(), short.send(), watched.send()]);
    expect(
      gateway.publishes.map(({ messages, options }) => [
        messages.length,
        Math.round(options.timeoutMs / 100) * 100,
        options.signal === signal,
      ]),
    ).toEqual([
      [2, 5_000, false],
      [2, 1_000, false],
      [2, 5_000, true],
    ]);
  });
});

describe('how a send ends', () => {
  test('each send of a batch has its own answer, with its own id', async () => {
    const { gateway, task } = setUp();
    const shared = new PublishError('E_PUBLISH_TIMEOUT', 'too slow', { outcome: 'unknown' });
    gateway.onPublish = ({ messages }) => messages.map((_, index): PublishResult => (index === 1 ? null : shared));
    const [first, second, third] = await Promise.allSettled([
      task.send(),
      task.with({ id: 'second' }).send(),
      task.with({ id: 'third' }).send(),
    ]);
    expect(first?.status).toBe('rejected');
    expect(second).toMatchObject({ status: 'fulfilled', value: { id: 'second' } });
    expect(third).toMatchObject({
      status: 'rejected',
      reason: { code: 'E_PUBLISH_TIMEOUT', outcome: 'unknown', taskId: 'third' },
    });
  });

  test('a driver that answers too little is told as our bug, with an unknown outcome', async () => {
    const { gateway, task } = setUp();
    gateway.onPublish = () => [];
    expect(await failure(task.send())).toMatchObject({ code: 'E_INTERNAL', outcome: 'unknown' });
  });

  test('a refused publish keeps its code and its cause', async () => {
    const { gateway, task } = setUp();
    const cause = new BrokerError('E_CLOSED', 'closed');
    gateway.onPublish = () => Promise.reject(cause);
    expect(await failure(task.send())).toMatchObject({ code: 'E_CLOSED', outcome: 'not-sent', cause });
  });

  test('a signal that has aborted sends nothing', async () => {
    const { gateway, task } = setUp();
    const send = task.with({ signal: AbortSignal.abort(new Error('enough')), id: 'a' });
    expect(await failure(send.send())).toMatchObject({ outcome: 'not-sent', taskId: 'a', cause: { message: 'enough' } });
    expect(gateway.publishes).toEqual([]);
  });
});

describe('bounds', () => {
  test('no more than maxPendingSends wait; more are refused at once, and there is room again afterwards', async () => {
    const { gateway, task } = setUp({ maxPendingSends: 10 });
    let release: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    gateway.onPublish = async ({ messages }) => {
      await gate;
      return messages.map(() => null);
    };
    const waiting = Array.from({ length: 10 }, () => task.send());
    expect(await failure(task.with({ id: 'one-more' }).send())).toMatchObject({
      code: 'E_PUBLISH_FAILED',
      outcome: 'not-sent',
      taskId: 'one-more',
    });
    release();
    await Promise.all(waiting);
    await expect(task.send()).resolves.toHaveProperty('id');
  });

  test('a run lists what it sent, up to a limit, and only what was confirmed', async () => {
    const { gateway, task } = setUp();
    const run = { context: { id: 'parent', rootId: 'root' } as TaskContext, children: [] as string[] };
    await activeRun.run(run, () => task.send());
    expect(gateway.sent[0]?.message.headers).toMatchObject({ parent_id: 'parent', root_id: 'root' });
    expect(run.children).toEqual([gateway.sent[0]?.message.headers.id]);
    gateway.onPublish = ({ messages }) => messages.map(() => new PublishError('E_PUBLISH_FAILED', 'no', { outcome: 'not-sent' }));
    await failure(activeRun.run(run, () => task.send()));
    expect(run.children).toHaveLength(1);
    gateway.onPublish = ({ messages }) => messages.map(() => null);
    await activeRun.run(run, () => task.sendMany(Array.from({ length: MAX_CHILDREN + 50 }, () => ({ args: [] }))));
    expect(run.children).toHaveLength(MAX_CHILDREN);
  });
});

describe('the reply queue', () => {
  test('is asked for once, before the first send, and written into all messages', async () => {
    const { gateway, task } = setUp();
    let asked = 0;
    gateway.onPrepare = async () => {
      asked += 1;
      return 'reply-queue';
    };
    await Promise.all([task.send(), task.send()]);
    await task.send();
    expect(asked).toBe(1);
    expect(gateway.sent.map(({ message }) => message.properties.reply_to)).toEqual(['reply-queue', 'reply-queue', 'reply-queue']);
  });

  test('is not needed for tasks without result', async () => {
    const { gateway, task } = setUp();
    gateway.onPrepare = () => Promise.reject(new Error('must not be asked'));
    await task.with({ ignoreResult: true }).send();
    expect(gateway.sent[0]?.message.properties.reply_to).toBe('');
  });

  test('that cannot be had fails the send within its deadline, and is asked for again by the next', async () => {
    const { gateway, task } = setUp();
    gateway.onPrepare = () => new Promise(() => {});
    expect(await failure(task.with({ timeout: '20ms' }).send())).toMatchObject({
      code: 'E_PUBLISH_TIMEOUT',
      outcome: 'not-sent',
    });
    const other = new ScriptedGateway();
    other.onPrepare = () => Promise.reject(new BrokerError('E_BROKER_AUTH', 'who are you?'));
    const { app } = setUp();
    const again = app.fn('again', () => 1);
    app.attachGateway(other);
    expect(await failure(again.send())).toMatchObject({ code: 'E_BROKER_AUTH', outcome: 'not-sent' });
    other.onPrepare = async () => 'now';
    await again.send();
    expect(other.sent[0]?.message.properties.reply_to).toBe('now');
  });

  test('of another gateway is not used', async () => {
    const { app, gateway, task } = setUp();
    gateway.replyTo = 'first';
    await task.send();
    const second = new ScriptedGateway();
    second.replyTo = 'second';
    app.attachGateway(second);
    await task.send();
    expect([gateway, second].map(({ sent }) => sent[0]?.message.properties.reply_to)).toEqual(['first', 'second']);
  });
});

test('close() waits for what is under way', async () => {
  const { app, gateway, task } = setUp();
  const order: string[] = [];
  gateway.onPublish = async ({ messages }) => {
    await new Promise((resolve) => setImmediate(resolve));
    order.push('published');
    return messages.map(() => null);
  };
  const sending = task.send();
  await app.close();
  order.push('closed');
  await sending;
  expect(order).toEqual(['published', 'closed']);
});
