/** Clients of remote control that are killed in the middle of a question: everything that they had on Redis goes by itself. */
import { afterAll, expect, test } from 'vitest';
import { INBOX_LIMITS } from '../../src/brokers/broker.js';
import { until } from '../../src/testing/conformance/broker-kit.js';
import { controlExchange, decodeControlRequest, encodeControlReply, type ReplyAddress } from '../../src/wire/control-message.js';
import { Project } from '../cli/run-cli.js';
import { redisSuite } from './redis-kit.js';

const CLIENTS = 5;
const project = new Project();
afterAll(() => project.remove());

redisSuite('killed control clients', (kit) => {
  test('leave no key a minute after kill -9, although workers went on answering them', { timeout: 180_000 }, async () => {
    const worker = await kit.broker();
    const asked: { readonly replyTo: ReplyAddress; readonly ticket: string }[] = [];
    await worker.listen(controlExchange(), '', ({ message }) => {
      const { replyTo, ticket } = decodeControlRequest(message);
      if (replyTo && ticket) asked.push({ replyTo, ticket });
    });
    const clients = Array.from({ length: CLIENTS }, () =>
      project.start(['inspect', 'stats', '--timeout', '10m', '--broker', kit.server.url]),
    );
    await until(() => asked.length === CLIENTS, 'all clients to ask', 60_000);
    for (const { child } of clients) child.kill('SIGKILL');
    await Promise.all(clients.map(({ finished }) => finished));
    const killedMs = performance.now();
    for (const { replyTo, ticket } of asked) {
      const reply = encodeControlReply('late@suite', { much: 'x'.repeat(10_000) }, { replyTo, ticket, clock: 1 });
      await worker.sendReply(replyTo, reply.message);
    }
    const left = (await kit.admin.keys('*')).filter((key) => key.includes('pidbox'));
    expect(left.length).toBeGreaterThanOrEqual(CLIENTS);
    for (const key of left) expect(await kit.admin.pttl(key), key).toBeGreaterThan(0);
    await until(
      async () => (await kit.admin.keys('*')).every((key) => !key.includes('pidbox')),
      'their keys to expire',
      INBOX_LIMITS.ttlMs + 30_000,
    );
    // Not sooner than they should: a client that is only slow keeps its inbox.
    expect(performance.now() - killedMs).toBeLessThan(INBOX_LIMITS.ttlMs + 30_000);
    expect((await kit.admin.keys('*')).filter((key) => key.includes('inbox'))).toEqual([]);
  });
});
