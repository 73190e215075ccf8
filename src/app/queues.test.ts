/** What people write of queues becomes what Celery declares for the same options; what cannot be meant is refused at once. */
import { expect, test } from 'vitest';
import { DeclaredQueues } from '../brokers/rabbitmq/declared.js';
import { destinationOf } from '../canvas/routes.js';
import { type Queues, resolveQueues } from './queues.js';
import { createRouter } from './router.js';

const PLAIN = { maxPriority: null, queueType: null };
const table = (queues: Queues) => resolveQueues(queues, null);

test('options become the arguments that RabbitMQ knows, with times in milliseconds', () => {
  const { queues } = table({
    all: {
      exchange: 'media',
      exchangeType: 'topic',
      routingKey: 'media.#',
      type: 'classic',
      maxPriority: 5,
      messageTtl: '60s',
      expires: '1h',
      maxLength: 100,
      maxLengthBytes: '1MiB',
      overflow: 'reject-publish',
      deadLetterExchange: '',
      deadLetterRoutingKey: 'dropped',
      arguments: { 'x-single-active-consumer': true },
    },
    plain: {},
  });
  expect(queues['all']).toEqual({
    exchange: 'media',
    exchangeType: 'topic',
    routingKey: 'media.#',
    arguments: {
      'x-single-active-consumer': true,
      'x-queue-type': 'classic',
      'x-max-priority': 5,
      'x-message-ttl': 60_000,
      'x-expires': 3_600_000,
      'x-max-length': 100,
      'x-max-length-bytes': 1_048_576,
      'x-overflow': 'reject-publish',
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'dropped',
    },
  });
  expect(queues['plain']).toEqual({ exchange: 'plain', exchangeType: 'direct', routingKey: 'plain', arguments: {} });
});

test.each([
  [{ q: { maxPriorty: 5 } }, 'E_CONFIG_UNKNOWN_KEY', /queues\["q"\].*did you mean "maxPriority"/],
  [{ q: { type: 'qorum' } }, 'E_CONFIG_RANGE', /did you mean 'quorum'/],
  [{ q: { exchangeType: 'stream' } }, 'E_CONFIG_RANGE', /'direct' or 'topic' or 'fanout' or 'headers'/],
  [{ q: { exchangeType: 'headers' } }, 'E_CONFIG_CONFLICT', /belong together/],
  [{ q: { bindingArguments: { tenant: 'acme' } } }, 'E_CONFIG_CONFLICT', /belong together/],
  [{ q: { broadcast: 'yes' } }, 'E_CONFIG_TYPE', /broadcast must be true or false/],
  [{ q: { broadcast: true, maxLength: 5 } }, 'E_CONFIG_CONFLICT', /a broadcast queue has no maxLength/],
  [{ q: { broadcast: true, exchange: 'x' }, p: { exchange: 'x' } }, 'E_CONFIG_CONFLICT', /exchange x is fanout/],
  [{ q: { maxPriority: 256 } }, 'E_CONFIG_RANGE', /from 1 to 255/],
  [{ q: { messageTtl: '60d' } }, 'E_CONFIG_RANGE', /49 days/],
  [{ q: { expires: '0s' } }, 'E_CONFIG_RANGE', /queues\["q"\]\.expires/],
  [{ q: { maxLength: 1.5 } }, 'E_CONFIG_RANGE', /whole number/],
  [{ q: { exchange: '' } }, 'E_CONFIG_RANGE', /exchange/],
  [{ q: 'quorum' }, 'E_CONFIG_TYPE', /queues\["q"\]/],
  [{ q: { arguments: { 'x-thing': 1.5 } } }, 'E_CONFIG_TYPE', /x-thing/],
  [{ q: { maxLength: 5, arguments: { 'x-max-length': 6 } } }, 'E_CONFIG_CONFLICT', /leave one out/],
  [{ q: { type: 'quorum', maxPriority: 5 } }, 'E_CONFIG_CONFLICT', /knows no maxPriority/],
  [{ q: { type: 'quorum', overflow: 'reject-publish-dlx' } }, 'E_CONFIG_CONFLICT', /reject-publish-dlx/],
  [{ q: { arguments: { 'x-queue-type': 'stream' } } }, 'E_CONFIG_RANGE', /x-queue-type/],
  [{ q: { deadLetterRoutingKey: 'k' } }, 'E_CONFIG_CONFLICT', /deadLetterExchange/],
  [{ a: { exchange: 'x', exchangeType: 'topic' }, b: { exchange: 'x' } }, 'E_CONFIG_CONFLICT', /exchange x is topic/],
] as const)('%j is refused with %s', (queues, code, message) => {
  expect(() => table(queues as unknown as Queues)).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) }),
  );
});

test('a priority queue is refused where quorum is the default, unless it says classic', () => {
  expect(() => resolveQueues({ q: { maxPriority: 5 } }, 'quorum')).toThrow(
    expect.objectContaining({ code: 'E_CONFIG_CONFLICT', message: expect.stringMatching(/type: 'classic'/) }),
  );
  const declared = new DeclaredQueues(resolveQueues({ q: { maxPriority: 5, type: 'classic' } }, 'quorum'), PLAIN);
  expect(declared.of('q').arguments).toEqual({ 'x-max-priority': 5, 'x-queue-type': 'classic' });
  expect(declared.of('other').arguments).toEqual({ 'x-queue-type': 'quorum' });
});

test('the URL’s options are defaults of queues that say nothing, and count before defaultQueueType', () => {
  const queues = resolveQueues({ fast: { maxPriority: 3 }, safe: { type: 'quorum' } }, null);
  const declared = new DeclaredQueues(queues, { maxPriority: 9, queueType: null });
  expect(['fast', 'safe', 'other'].map((name) => declared.of(name).arguments)).toEqual([
    { 'x-max-priority': 3 },
    { 'x-queue-type': 'quorum' },
    { 'x-max-priority': 9 },
  ]);
  expect(declared.anyQuorum).toBe(true);
  expect(new DeclaredQueues(resolveQueues({}, 'quorum'), { maxPriority: 9, queueType: 'classic' }).of('q').arguments).toEqual({
    'x-queue-type': 'classic',
    'x-max-priority': 9,
  });
  expect(() => new DeclaredQueues(resolveQueues({}, 'quorum'), { maxPriority: 9, queueType: null })).toThrow(
    expect.objectContaining({ code: 'E_CONFIG_CONFLICT' }),
  );
});

test('names that every object has are queues like others', () => {
  const queues = table(JSON.parse('{"__proto__":{"maxLength":1}}') as Queues);
  const declared = new DeclaredQueues(queues, PLAIN);
  expect(declared.of('__proto__').arguments).toEqual({ 'x-max-length': 1 });
  expect(declared.of('constructor')).toEqual({
    exchange: 'constructor',
    exchangeType: 'direct',
    routingKey: 'constructor',
    arguments: {},
  });
});

const MEDIA: Queues = {
  media: { exchangeType: 'topic', routingKey: 'media.#' },
  video: { exchange: 'media', exchangeType: 'topic', routingKey: 'media.video' },
  all: { exchange: 'news', exchangeType: 'fanout' },
};

test.each([
  [
    { exchange: 'media', routingKey: 'media.audio' },
    { queue: 'media', exchange: 'media', routingKey: 'media.audio' },
  ],
  [
    { queue: 'video', routingKey: 'media.video' },
    { queue: 'video', exchange: 'media', routingKey: 'media.video' },
  ],
  [
    { queue: 'video', exchange: 'media' },
    { queue: 'video', exchange: 'media', routingKey: 'media.video' },
  ],
  [{ exchange: 'news' }, { queue: 'all', exchange: 'news', routingKey: '' }],
])('the route %j goes to %j', (route, destination) => {
  const router = createRouter({ '*': route }, table(MEDIA));
  expect(destinationOf(null, router.find('t'), 'lovage')).toEqual(destination);
  // what a call or a task names comes before its route
  expect(destinationOf('mine', router.find('t'), 'lovage')).toEqual({ queue: 'mine' });
});

test.each([
  [{ exchange: 'medai', routingKey: 'k' }, 'E_CONFIG_RANGE', /Did you mean "media"/],
  [{ queue: 'vidoe', routingKey: 'k' }, 'E_CONFIG_RANGE', /Did you mean "video"/],
  [{ routingKey: 'k' }, 'E_CONFIG_CONFLICT', /name one of them/],
  [{ exchange: 'media' }, 'E_CONFIG_CONFLICT', /need a routingKey/],
  [{ exchange: 'news', queue: 'video' }, 'E_CONFIG_CONFLICT', /not to news/],
  [{ exchange: 'media', routingKey: 'k'.repeat(256) }, 'E_CONFIG_RANGE', /255 bytes/],
] as const)('the route %j is refused with %s', (route, code, message) => {
  expect(() => createRouter({ '*': route }, table(MEDIA))).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) }),
  );
});

test('what the broker drops from a queue finds its way to queues of the table', () => {
  const declared = new DeclaredQueues(
    table({
      work: { deadLetterExchange: '', deadLetterRoutingKey: 'dropped' },
      dropped: { deadLetterExchange: 'work' },
    }),
    PLAIN,
  );
  expect([declared.deadLettersOf('work'), declared.deadLettersOf('dropped')]).toEqual([['dropped'], ['work']]);
});
