/**
 * Bad input and what becomes of it: one table for every broker. The sources are DESIGN section 5 (park at once what cannot
 * be decoded), the wire specification section 11 (what a Python worker does, and must not be done here) and
 * docs/reference/errors.md. A row that ends differently on one broker says so in `on`.
 *
 * Long because it is a table.
 */
import { deflateSync } from 'node:zlib';

export type BrokerName = 'file' | 'redis' | 'rabbitmq';

/** A message as a stranger may send it. */
export interface RawMessage {
  readonly headers: Readonly<Record<string, unknown>>;
  /** JSON members of the headers that no object of ours can hold; brokers that carry JSON only. */
  readonly headersJson?: string;
  /** Headers for AMQP where they are not the same. */
  readonly amqpHeaders?: Readonly<Record<string, unknown>>;
  /** Absent = not there at all. */
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly replyTo?: string;
  /** Members of the Redis envelope to replace; `undefined` takes one away. */
  readonly envelope?: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

/** How a message may end. `result`: what the sender can read of it. */
export type Fate =
  | { readonly kind: 'ran' }
  | { readonly kind: 'failed'; readonly says: RegExp }
  | { readonly kind: 'revoked' }
  | { readonly kind: 'parked'; readonly code: string; readonly reason: RegExp; readonly result: 'FAILURE' | null }
  /** Ran, and nobody can be told. */
  | { readonly kind: 'acknowledged' }
  /** In the delay store, not in a worker. */
  | { readonly kind: 'waits' };

export interface BadCase {
  readonly name: string;
  readonly fate: Fate;
  /** Where it ends differently; `null` = cannot be sent there. */
  readonly on?: Readonly<Partial<Record<BrokerName, Fate | null>>>;
  /** Too large to be sent a hundred times. */
  readonly once?: true;
  /** A message, or bytes in the place of one. */
  make(id: string): RawMessage | Buffer;
}

const ran: Fate = { kind: 'ran' };
const waits: Fate = { kind: 'waits' };
const failed = (says: RegExp): Fate => ({ kind: 'failed', says });
const parked = (code: string, reason: RegExp): Fate => ({ kind: 'parked', code, reason, result: 'FAILURE' });
/** Without an id, or without anything that could be one, there is nobody to tell. */
const parkedUntold = (code: string, reason: RegExp): Fate => ({ kind: 'parked', code, reason, result: null });

const EMBED = '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}';
const BODY = `[[1],{},${EMBED}]`;
const JSON_CONTENT = { contentType: 'application/json', contentEncoding: 'utf-8' } as const;
const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);

const message = (id: string, more: Partial<RawMessage> = {}): RawMessage => ({
  ...JSON_CONTENT,
  body: Buffer.from(BODY),
  ...more,
  headers: { lang: 'py', task: 't.look', id, ...more.headers },
});
const body =
  (text: string | Buffer) =>
  (id: string): RawMessage =>
    message(id, { body: Buffer.from(text as string) });
const headers =
  (more: Readonly<Record<string, unknown>>) =>
  (id: string): RawMessage =>
    message(id, { headers: more });
const protocol1 =
  (more: Readonly<Record<string, unknown>>) =>
  (id: string): RawMessage => ({
    ...JSON_CONTENT,
    headers: {},
    body: Buffer.from(JSON.stringify({ task: 't.look', id, args: [1], kwargs: {}, retries: 0, utc: true, ...more })),
  });
const signature = { task: 't.look', args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false };
const badArgs = { ...signature, args: 'x' };
const noGroup = { ...signature, task: 'celery.group', kwargs: { tasks: 'x' }, subtask_type: 'group' };
const embed = (more: Readonly<Record<string, unknown>>): string => JSON.stringify([[1], {}, more]);

// protocol 4 pickle of ([], {}, None)
const PICKLE = Buffer.from('80049507000000000000005d947d944e87942e', 'hex');
const COMPRESSED = { headers: { compression: 'application/x-gzip' } } as const;
const many = (count: number): Record<string, unknown> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`h${index}`, index]));

export const CASES: readonly BadCase[] = [
  // no message at all
  { name: 'garbage bytes', fate: parkedUntold('E_DECODE', /./), make: () => Buffer.from([0x80, 0xff, 0x00, 0xfe, 0x22, 0x5b]) },
  { name: 'nothing at all', fate: parkedUntold('E_DECODE', /./), make: () => Buffer.alloc(0) },
  { name: 'half a JSON text', fate: parkedUntold('E_DECODE', /./), make: () => Buffer.from('{"body": "') },
  { name: 'a JSON array instead of a message', fate: parkedUntold('E_DECODE', /./), make: () => Buffer.from('[1,2,3]') },
  {
    name: 'brackets 100,000 deep instead of a message',
    fate: parkedUntold('E_DECODE', /./),
    make: () => Buffer.from(deep(100_000)),
  },
  { name: 'opening brackets only', fate: parkedUntold('E_DECODE', /./), make: () => Buffer.from('['.repeat(100_000)) },
  ...(
    [
      ['an envelope without properties', { properties: undefined }],
      ['an envelope without a body', { body: undefined }],
      ['an envelope whose body is an object', { body: {} }],
      ['an envelope whose headers are an array', { headers: [] }],
      [
        'an envelope with an unknown body encoding',
        { properties: { body_encoding: 'rot13', delivery_info: {}, delivery_tag: 'x' } },
      ],
    ] as const
  ).map(
    ([name, envelope]): BadCase => ({
      name,
      fate: parkedUntold('E_DECODE', /envelope/),
      on: { file: null, rabbitmq: null },
      make: (id) => message(id, { envelope }),
    }),
  ),
  {
    name: 'an envelope whose body is not base64',
    fate: parked('E_DECODE', /not|UTF-8/),
    on: { file: null, rabbitmq: null },
    make: (id) => message(id, { envelope: { body: '\u0000"}{ !' } }),
  },
  {
    name: 'an envelope without delivery tag and info',
    fate: ran,
    on: { file: null, rabbitmq: null },
    make: (id) => message(id, { envelope: { properties: { body_encoding: 'base64' } } }),
  },

  // bodies
  { name: 'an empty body', fate: parked('E_DECODE', /not JSON/), make: body('') },
  { name: 'a body that is not JSON', fate: parked('E_DECODE', /not JSON/), make: body('hello') },
  {
    name: 'a body that is not UTF-8',
    fate: parked('E_DECODE', /UTF-8/),
    make: (id) => message(id, { body: Buffer.from([0x5b, 0xc3, 0x28, 0x5d]) }),
  },
  {
    name: 'a body in UTF-16',
    fate: parked('E_DECODE', /not JSON|UTF-8/),
    make: (id) => message(id, { body: Buffer.from(BODY, 'utf16le') }),
  },
  { name: 'a body with a byte order mark', fate: parked('E_DECODE', /not JSON/), make: body(`\ufeff${BODY}`) },
  { name: 'a body of two items', fate: parked('E_DECODE', /2 items/), make: body('[[1],{}]') },
  { name: 'a body of four items', fate: parked('E_DECODE', /4 items/), make: body(`[[1],{},${EMBED},1]`) },
  { name: 'a body that is an object', fate: parked('E_DECODE', /an object/), make: body('{"args":[1]}') },
  { name: 'a body that is null', fate: parked('E_DECODE', /null/), make: body('null') },
  {
    name: 'a body that is a typed value',
    fate: parked('E_DECODE', /typed value/),
    make: body('{"__type__":"datetime","__value__":"2026-01-01T00:00:00"}'),
  },
  { name: 'args that are null', fate: failed(/args is null/), make: body(`[null,{},${EMBED}]`) },
  { name: 'args that are an object', fate: failed(/args is an object/), make: body(`[{},{},${EMBED}]`) },
  { name: 'kwargs that are an array', fate: parked('E_DECODE', /kwargs is an array/), make: body(`[[1],[],${EMBED}]`) },
  { name: 'kwargs that are null', fate: parked('E_DECODE', /kwargs is null/), make: body(`[[1],null,${EMBED}]`) },
  { name: 'args 100,000 deep', fate: parked('E_DECODE', /levels deep/), make: body(`[[${deep(100_000)}],{},${EMBED}]`) },
  {
    name: 'kwargs 100,000 deep',
    fate: parked('E_DECODE', /levels deep/),
    make: body(`[[],{"x":${'{"x":'.repeat(100_000)}1${'}'.repeat(100_000)}},${EMBED}]`),
  },
  { name: 'embed 100,000 deep', fate: parked('E_DECODE', /levels deep/), make: body(`[[1],{},{"x":${deep(100_000)}}]`) },
  { name: 'args 190 deep', fate: ran, make: body(`[[${deep(190)}],{},${EMBED}]`) },
  { name: 'NaN and Infinity among the args', fate: ran, make: body(`[[NaN,Infinity,-Infinity],{"x":NaN},${EMBED}]`) },
  {
    name: 'an integer of 10,000 digits',
    fate: parked('E_DECODE', /digits/),
    make: body(`[[${'9'.repeat(10_000)}],{},${EMBED}]`),
  },
  { name: 'a number beyond all doubles', fate: ran, make: body(`[[1e999],{},${EMBED}]`) },
  { name: 'a typed value that nobody knows', fate: ran, make: body(`[[{"__type__":"os.system","__value__":"x"}],{},${EMBED}]`) },
  {
    name: '__proto__ among the kwargs',
    fate: parked('E_DECODE', /__proto__/),
    make: body(`[[1],{"__proto__":{"polluted":true}},${EMBED}]`),
  },
  {
    name: '__proto__ within the args',
    fate: parked('E_DECODE', /__proto__/),
    make: body(`[[{"a":{"__proto__":{"polluted":true}}}],{},${EMBED}]`),
  },
  {
    name: '__proto__ written with escapes',
    fate: parked('E_DECODE', /__proto__/),
    make: body(`[[1],{"\\u005F\\u005fproto\\u005f_":{"polluted":true}},${EMBED}]`),
  },
  { name: '__proto__ in embed', fate: parked('E_DECODE', /__proto__/), make: body('[[1],{},{"__proto__":{"chain":[]}}]') },
  {
    name: 'constructor and prototype among the kwargs and args',
    fate: ran,
    make: body(
      `[[{"constructor":{"prototype":{"polluted":true}}}],{"constructor":{"prototype":{"polluted":true}},"prototype":1},${EMBED}]`,
    ),
  },
  {
    name: 'a body of 50 MB',
    fate: parked('E_MESSAGE_TOO_LARGE', /bytes/),
    once: true,
    make: body(`[["${'x'.repeat(50_000_000)}"],{},${EMBED}]`),
  },
  {
    name: 'wrong arguments',
    fate: failed(/takes at most 2 arguments/),
    make: (id) => message(id, { headers: { task: 't.add' }, body: Buffer.from(`[[1,2,3],{},${EMBED}]`) }),
  },
  {
    name: 'a keyword that the task does not have',
    fate: failed(/no parameter "constructor"/),
    make: (id) => message(id, { headers: { task: 't.add' }, body: Buffer.from(`[[1],{"constructor":2},${EMBED}]`) }),
  },

  // embed
  { name: 'embed that is empty', fate: ran, make: body('[[1],{},{}]') },
  { name: 'embed that is null', fate: ran, make: body('[[1],{},null]') },
  { name: 'embed with empty lists', fate: ran, make: body(embed({ callbacks: [], errbacks: [], chain: [], chord: null })) },
  { name: 'embed that is an array', fate: parked('E_DECODE', /embed/), make: body('[[1],{},[]]') },
  { name: 'embed whose chain is an object', fate: parked('E_DECODE', /embed.chain/), make: body(embed({ chain: {} })) },
  { name: 'embed whose chain holds no signature', fate: failed(/no object/), make: body(embed({ chain: [7] })) },
  { name: 'embed whose chain names no task', fate: failed(/no task name/), make: body(embed({ chain: [{ args: [1] }] })) },
  {
    name: 'embed whose callback has args of text',
    fate: failed(/args is no array/),
    make: body(embed({ callbacks: [badArgs] })),
  },
  {
    name: 'embed whose chain is a group of nothing known',
    fate: failed(/no array of tasks/),
    make: body(embed({ chain: [noGroup] })),
  },
  { name: 'embed with errbacks that nobody needs', fate: ran, make: body(embed({ errbacks: [7] })) },
  { name: 'embed with a chord and no group', fate: ran, make: body(embed({ chord: signature })) },
  {
    name: 'embed with a chord that nobody opened',
    fate: ran,
    make: (id) => message(id, { headers: { group: 'g', group_index: 0 }, body: Buffer.from(embed({ chord: { task: 7 } })) }),
  },

  // content types and compression
  ...(
    [
      'text/plain',
      'application/data',
      'application/x-unknown',
      'application/x-yaml',
      'application/x-msgpack',
      'APPLICATION/JSON; x',
    ] as const
  ).map(
    (contentType): BadCase => ({
      name: `content type ${contentType}`,
      fate: parked('E_CONTENT_REFUSED', /content type/),
      make: (id) => message(id, { contentType }),
    }),
  ),
  {
    name: 'pickle',
    fate: parked('E_CONTENT_REFUSED', /pickle/),
    make: (id) => message(id, { contentType: 'application/x-python-serialize', contentEncoding: 'binary', body: PICKLE }),
  },
  {
    name: 'no content type',
    fate: parked('E_CONTENT_REFUSED', /missing/),
    on: { rabbitmq: parkedUntold('E_DECODE', /no content type/) },
    make: (id) => ({ headers: { task: 't.look', id }, contentEncoding: 'utf-8', body: Buffer.from(BODY) }),
  },
  {
    name: 'no content encoding',
    fate: ran,
    make: (id) => ({ headers: { task: 't.look', id }, contentType: 'application/json', body: Buffer.from(BODY) }),
  },
  {
    name: 'content encoding latin-1',
    fate: parked('E_DECODE', /latin-1/),
    make: (id) => message(id, { contentEncoding: 'latin-1' }),
  },
  { name: 'unknown compression', fate: parked('E_COMPRESSION', /unknown/), make: headers({ compression: 'application/x-lzma' }) },
  { name: 'compression that is no text', fate: parked('E_COMPRESSION', /unknown/), make: headers({ compression: { a: 1 } }) },
  { name: 'corrupt compression', fate: parked('E_COMPRESSION', /corrupt/), make: headers(COMPRESSED.headers) },
  {
    name: 'cut compression',
    fate: parked('E_COMPRESSION', /corrupt/),
    make: (id) => message(id, { ...COMPRESSED, body: deflateSync(BODY).subarray(0, -6) }),
  },
  {
    name: 'a zlib bomb of 200 MB',
    fate: parked('E_COMPRESSION', /beyond/),
    make: (id) => message(id, { ...COMPRESSED, body: bomb() }),
  },
  {
    name: 'a zlib bomb without a task header',
    fate: parkedUntold('E_COMPRESSION', /beyond/),
    make: () => ({ ...JSON_CONTENT, headers: { ...COMPRESSED.headers }, body: bomb() }),
  },

  // headers
  {
    name: 'no id',
    fate: parkedUntold('E_DECODE', /header id is missing/),
    make: () => ({ ...JSON_CONTENT, headers: { task: 't.look' }, body: Buffer.from(BODY) }),
  },
  { name: 'an id that is a number', fate: parkedUntold('E_DECODE', /header id/), make: headers({ id: 7 }) },
  { name: 'an id that is null', fate: parkedUntold('E_DECODE', /header id/), make: headers({ id: null }) },
  { name: 'an id of 2,000 characters', fate: parkedUntold('E_DECODE', /header id/), make: headers({ id: 'x'.repeat(2_000) }) },
  // Its result has no way back where the id is the correlation id; the task runs all the same.
  {
    name: 'an id of 1,000 characters',
    fate: ran,
    on: { rabbitmq: { kind: 'acknowledged' } },
    make: (id) => message(id, { headers: { id: id.padEnd(1_000, 'x') } }),
  },
  {
    name: 'an id of control characters and quotes',
    fate: ran,
    make: (id) => message(id, { headers: { id: `${id}\u0000\n"'\u001b[31m\u2028` } }),
  },
  {
    name: 'no task and no task of protocol 1',
    fate: parkedUntold('E_DECODE', /protocol 1/),
    make: (id) => ({ ...JSON_CONTENT, headers: { id }, body: Buffer.from(BODY) }),
  },
  { name: 'a task that is null', fate: parkedUntold('E_DECODE', /header task/), make: headers({ task: null }) },
  { name: 'a task that is an array', fate: parkedUntold('E_DECODE', /header task/), make: headers({ task: ['t.look'] }) },
  { name: 'a task named constructor', fate: parked('E_NOT_REGISTERED', /constructor/), make: headers({ task: 'constructor' }) },
  {
    name: 'an unknown task that says it was met in the future',
    fate: parked('E_NOT_REGISTERED', /nobody/),
    make: headers({ task: 'nobody', lovage_unknown_since: 9e15 }),
  },
  {
    name: 'an unknown task that says it was met at no time',
    fate: parked('E_NOT_REGISTERED', /nobody/),
    // RabbitMQ closes the sender's connection for a NaN in a table
    on: { rabbitmq: null, file: parkedUntold('E_DECODE', /no message/) },
    make: (id) => message(id, { headers: { task: 'nobody' }, headersJson: '"lovage_unknown_since":NaN' }),
  },
  { name: 'an eta that is no time', fate: parkedUntold('E_DECODE', /header eta/), make: headers({ eta: 'tomorrow' }) },
  { name: 'the eta "null"', fate: parkedUntold('E_DECODE', /header eta/), make: headers({ eta: 'null' }) },
  { name: 'an eta that is a number', fate: parkedUntold('E_DECODE', /header eta/), make: headers({ eta: 1e12 }) },
  {
    name: 'an eta on the 31st of February',
    fate: parkedUntold('E_DECODE', /header eta/),
    make: headers({ eta: '2026-02-31T00:00:00Z' }),
  },
  { name: 'expires that is no time', fate: parkedUntold('E_DECODE', /header expires/), make: headers({ expires: 'soon' }) },
  { name: 'expires in the past', fate: { kind: 'revoked' }, make: headers({ expires: '2001-01-01T00:00:00' }) },
  { name: 'expires in year 9999', fate: ran, make: headers({ expires: '9999-12-31T23:59:59.999999+00:00' }) },
  {
    name: 'retried, with expires in year 9999',
    fate: ran,
    make: headers({ task: 't.again', expires: '9999-12-31T23:59:59.999999+00:00' }),
  },
  { name: 'an eta in year 1', fate: ran, make: headers({ eta: '0001-01-01T00:00:00' }) },
  { name: 'an eta in year 9999', fate: waits, make: headers({ eta: '9999-12-31T23:59:59.999999+00:00' }) },
  { name: 'retries as text', fate: ran, make: headers({ retries: '3' }) },
  { name: 'retries as other text', fate: parkedUntold('E_DECODE', /header retries/), make: headers({ retries: 'many' }) },
  { name: 'negative retries', fate: parkedUntold('E_DECODE', /header retries/), make: headers({ retries: -1 }) },
  { name: 'timelimit null', fate: ran, make: headers({ timelimit: null }) },
  { name: 'a timelimit of other things', fate: ran, make: headers({ timelimit: ['x', { a: 1 }, 3] }) },
  { name: 'a timelimit of centuries', fate: ran, make: headers({ task: 't.slow', timelimit: [10_000_000_000, 9_000_000_000] }) },
  {
    name: 'headers of the wrong types',
    fate: ran,
    make: headers({
      shadow: [1],
      group: { a: 1 },
      group_index: 'x',
      root_id: 7,
      parent_id: [],
      ignore_result: 'yes',
      stamps: [1],
      stamped_headers: { a: 1 },
      origin: 1,
      argsrepr: 5,
    }),
  },
  {
    name: 'constructor and the like as user headers',
    fate: ran,
    make: headers({
      constructor: { prototype: { polluted: true } },
      prototype: 1,
      toString: 'x',
      hasOwnProperty: 'x',
      valueOf: null,
    }),
  },
  {
    name: '__proto__ as a user header',
    fate: ran,
    on: { rabbitmq: parkedUntold('E_DECODE', /__proto__/) },
    make: (id) =>
      message(id, {
        headersJson: '"__proto__":{"polluted":true,"task":"nobody"}',
        amqpHeaders: JSON.parse('{"__proto__":{"polluted":true}}') as Record<string, unknown>,
      }),
  },
  {
    name: '__proto__ within a user header',
    fate: ran,
    on: { redis: parkedUntold('E_DECODE', /__proto__/) },
    make: (id) => message(id, { headers: { mine: JSON.parse('{"a":{"__proto__":{"polluted":true}}}') as unknown } }),
  },
  {
    name: 'a user header 100,000 deep',
    fate: parkedUntold('E_DECODE', /levels deep/),
    on: { rabbitmq: null },
    make: (id) => message(id, { headersJson: `"mine":${deep(100_000)}` }),
  },
  {
    name: 'a user header 1,000 deep',
    fate: parkedUntold('E_DECODE', /levels deep/),
    on: { rabbitmq: parkedUntold('E_DECODE', /content type/) },
    make: (id) => message(id, { headers: { mine: JSON.parse(deep(1_000)) as unknown, beside: 'x'.repeat(4_096) } }),
  },
  { name: '10,000 user headers', fate: ran, on: { rabbitmq: null }, make: headers(many(10_000)) },
  { name: '5,000 user headers', fate: ran, make: headers(many(5_000)) },
  {
    name: '5,000 user headers and no message',
    fate: parked('E_DECODE', /not JSON/),
    make: (id) => message(id, { headers: many(5_000), body: Buffer.from('x') }),
  },
  { name: 'losses that were not', fate: ran, make: headers({ lovage_losses: -1_000_000, lovage_epoch: -5 }) },
  { name: 'losses as text', fate: ran, make: headers({ lovage_losses: 'x', lovage_epoch: 'x', lovage_resent: 'x' }) },
  { name: 'more losses than are borne', fate: parked('E_WORKER_LOST', /died/), make: headers({ lovage_losses: 1_000_000 }) },
  {
    name: 'a reply queue that does not exist',
    fate: ran,
    on: { rabbitmq: { kind: 'acknowledged' } },
    make: (id) => message(id, { replyTo: 'nobody-listens' }),
  },
  {
    name: 'a direct reply to nobody',
    fate: ran,
    on: { rabbitmq: { kind: 'acknowledged' } },
    make: (id) => message(id, { replyTo: 'amq.rabbitmq.reply-to.nonsense' }),
  },

  // protocol 1
  { name: 'protocol 1', fate: ran, make: protocol1({}) },
  {
    name: 'protocol 1 without args',
    fate: ran,
    make: protocol1({ args: null, kwargs: null, eta: null, expires: null, timelimit: null, taskset: null }),
  },
  { name: 'protocol 1 with args that are text', fate: parkedUntold('E_DECODE', /args/), make: protocol1({ args: 'x' }) },
  { name: 'protocol 1 without an id', fate: parkedUntold('E_DECODE', /header id/), make: protocol1({ id: undefined }) },
  { name: 'protocol 1 with a chord', fate: ran, make: protocol1({ chord: signature }) },
  {
    name: 'protocol 1 with an eta that is no time',
    fate: parkedUntold('E_DECODE', /header eta/),
    make: protocol1({ eta: 'tomorrow' }),
  },
  {
    name: 'protocol 1 in pickle',
    fate: parkedUntold('E_CONTENT_REFUSED', /pickle/),
    make: () => ({ contentType: 'application/x-python-serialize', contentEncoding: 'binary', headers: {}, body: PICKLE }),
  },
];

let deflated: Buffer | undefined;
function bomb(): Buffer {
  deflated ??= deflateSync(Buffer.alloc(200_000_000, 0x20));
  return deflated;
}

/** The id that a message answers to, if it has one. */
export function idOf(raw: RawMessage | Buffer): string | null {
  if (Buffer.isBuffer(raw)) return null;
  if (typeof raw.headers['id'] === 'string') return raw.headers['id'];
  try {
    return (JSON.parse(raw.body.toString()) as { id?: string }).id ?? null;
  } catch {
    return null;
  }
}

/** What becomes of it on this broker; `null` = it cannot be sent there. */
export function fateOn(broker: BrokerName, row: BadCase): Fate | null {
  const special = row.on?.[broker];
  return special === undefined ? row.fate : special;
}
