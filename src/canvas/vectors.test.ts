/** Canvas against what real Celery sent (tests/vectors/e-*): the same workflows, planned here, give the same messages. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { decodeJson } from '../wire/serializers/json.js';
import { makeSignature, type WireSignature } from '../wire/signature.js';
import { decodeTaskBody } from '../wire/task-message.js';
import { afterSuccess, type Embed, errbacksOf, unreachable } from './after.js';
import { type FreezeContext, finalIdOf, freeze } from './freeze.js';
import { outgoingOf } from './outgoing.js';
import { type CanvasPlan, emptyPlan, start, startBody } from './plan.js';
import { kindOf, makeChain, makeChord, makeGroup, partsOf, tasksOf } from './shapes.js';

interface Recorded {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly properties: Readonly<Record<string, unknown>>;
  readonly args: unknown;
  readonly kwargs: unknown;
  readonly embed: Embed;
}

/** The task messages of a recording, the first sent first: Redis lists hold them the other way round. */
function recorded(name: string): Recorded[] {
  const text = readFileSync(new URL(`../../tests/vectors/${name}.json`, import.meta.url), 'utf8');
  const { wire } = JSON.parse(text) as { wire: Record<string, Record<string, { elements?: { envelope?: Envelope }[] }>> };
  const lists = Object.values(wire).flatMap((keys) => Object.values(keys));
  const envelopes = lists.flatMap(({ elements }) => elements ?? []).flatMap(({ envelope }) => envelope ?? []);
  return envelopes.reverse().map(({ body, headers, properties }) => {
    const [args, kwargs, embed] = decodeJson(Buffer.from(body, 'base64').toString()) as [unknown, unknown, Embed];
    return { headers, properties, args, kwargs, embed };
  });
}

interface Envelope {
  readonly body: string;
  readonly headers: Record<string, unknown>;
  readonly properties: Record<string, unknown>;
}

const one = (name: string): Recorded => {
  const [message] = recorded(name);
  if (!message) throw new Error(`${name} has no message`);
  return message;
};

/** Ids in this order; more than were asked for is an error. */
function context(ids: readonly string[], replyTo: string | null = null): FreezeContext {
  const left = [...ids];
  const newId = (): string => {
    const id = left.shift();
    if (id === undefined) throw new Error('one id too many was asked for');
    return id;
  };
  return { newId, replyTo };
}

/** As they would go out. */
function sent(
  plan: CanvasPlan,
  parent: { readonly id: string; readonly rootId: string } | null = null,
): Omit<Recorded, 'properties'>[] {
  return plan.tasks.map((task) => {
    const { message } = outgoingOf(task, {
      ...{ nowMs: 0, json: 'tagged', maxMessageBytes: 1_000_000, origin: 'test', parent, isRepeated: false },
      routeOf: () => ({ to: { queue: 'celery' }, priority: undefined, anyWorker: false }),
      priorityFromWire: (priority) => priority,
    });
    const { args, kwargs, embed } = decodeTaskBody(message);
    return { headers: message.headers, args, kwargs, embed };
  });
}

/** The parts of messages that a workflow decides. */
const shape = ({ headers, args, kwargs, embed }: Omit<Recorded, 'properties'>): unknown => {
  const { task, id, group, group_index, root_id, parent_id, stamped_headers, stamps } = headers;
  return { headers: { task, id, group, group_index, root_id, parent_id, stamped_headers, stamps }, args, kwargs, embed };
};

const add = (...args: unknown[]): WireSignature => makeSignature('wire.add', { args });
const xsum = makeSignature('wire.xsum');
const idOf = ({ headers }: Recorded): string => headers['id'] as string;
const parentOf = ({ headers }: Recorded): { id: string; rootId: string } => ({
  id: headers['parent_id'] as string,
  rootId: headers['root_id'] as string,
});
const planOf = (signature: WireSignature, ids: FreezeContext): CanvasPlan => {
  const plan = emptyPlan();
  start(freeze(signature, ids), { args: [], rest: null }, ids, plan);
  return plan;
};

test('of a chain only the first task is sent, with the others in reverse', () => {
  const message = one('e-redis-chain-3');
  const [third, second] = message.embed.chain as WireSignature[];
  const ids = [idOf(message), second?.options.task_id, third?.options.task_id] as string[];
  const plan = planOf(makeChain([add(1, 2), add(3), add(4)]), context(ids, message.properties['reply_to'] as string));
  expect(sent(plan).map(shape)).toEqual([shape(message)]);
});

test('the next step of a chain gets the result first, and the rest of the chain', () => {
  const message = one('e-redis-worker-chain-step');
  const { id } = message.headers as { id: string };
  const step = makeSignature('wire.add', {
    args: [3],
    options: { task_id: id, reply_to: message.properties['reply_to'] as string },
  });
  const embed = { ...message.embed, chain: [...(message.embed.chain as WireSignature[]), step] };
  const { plan, children } = afterSuccess(embed, 3, context([]));
  expect(sent(plan, parentOf(message)).map(shape)).toEqual([shape(message)]);
  expect(children).toEqual([id]);
});

test('errbacks of a chain stand behind each of its steps', () => {
  const message = one('e-redis-chain-mixed');
  const [third, second] = message.embed.chain as WireSignature[];
  const chain = makeChain([
    add(1, 2),
    makeSignature('wire.ident', { args: ['fixed'], options: { queue: 'other', priority: 6 }, immutable: true }),
    makeSignature('wire.echo', { args: [4], kwargs: { k: 1 }, options: { countdown: 5 } }),
  ]);
  const failing = { ...chain, options: { link_error: [makeSignature('wire.errback1')] } };
  const ids = [idOf(message), second?.options.task_id, third?.options.task_id] as string[];
  const plan = planOf(failing, context(ids, message.properties['reply_to'] as string));
  expect(sent(plan).map(shape)).toEqual([shape(message)]);
});

test('a group at the end of a chain is started by the worker, each member with the result', () => {
  const messages = recorded('e-redis-worker-chain-to-group');
  const [first, second] = messages as [Recorded, Recorded];
  const reply_to = first.properties['reply_to'] as string;
  const member = (number: number, { headers }: Recorded): WireSignature =>
    makeSignature('wire.add', { args: [number], options: { task_id: headers['id'] as string, reply_to } });
  const group = makeGroup([member(10, first), member(20, second)], first.headers['group'] as string);
  const { plan, children } = afterSuccess({ callbacks: null, errbacks: null, chain: [group], chord: null }, 2, context([]));
  expect(sent(plan, parentOf(first)).map(shape)).toEqual(messages.map(shape));
  expect(children).toEqual([{ group: first.headers['group'], members: messages.map(idOf) }]);
});

test('what Celery writes for a group at the end of a chain is read', () => {
  const { embed } = one('e-redis-chain-ends-with-group');
  const { plan } = afterSuccess(embed, 2, context([]));
  expect(sent(plan).map(({ args, headers }) => [args, headers['group_index']])).toEqual([
    [[2, 2], 0],
    [[2, 3], 1],
  ]);
});

test('members of a group share its id and are numbered', () => {
  const messages = recorded('e-redis-group-3');
  const ids = [...messages.map(idOf), messages[0]?.headers['group'] as string];
  const plan = planOf(makeGroup([add(0, 0), add(1, 1), add(2, 2)]), context(ids, messages[0]?.properties['reply_to'] as string));
  expect(sent(plan).map(shape)).toEqual(messages.map(shape));
});

test('of chains in a group the last steps are its members', () => {
  const messages = recorded('e-redis-group-of-chains');
  const lasts = messages.map(({ embed }) => (embed.chain as WireSignature[])[0] as WireSignature);
  const ids = messages.flatMap((message, index) => [idOf(message), lasts[index]?.options.task_id as string]);
  const group = makeGroup([makeChain([add(1, 1), add(2)]), makeChain([add(5, 5), add(6)])]);
  const context_ = context([...ids, lasts[0]?.options.group_id as string], messages[0]?.properties['reply_to'] as string);
  expect(sent(planOf(group, context_)).map(shape)).toEqual(messages.map(shape));
});

test('the parts of a chord carry its body, which is counted before they are sent', () => {
  const messages = recorded('e-redis-chord');
  const body = messages[0]?.embed.chord as unknown as WireSignature;
  const { group_id, ...options } = body.options;
  const ids = [...messages.map(idOf), group_id as string, options.task_id as string];
  const chord = makeChord(makeGroup([add(1, 1), add(2, 2)]), xsum);
  const plan = planOf(chord, context(ids, options.reply_to as string));
  // Celery notes the id of the header's group in the body; nobody needs it there
  const lean = messages.map((message) => ({ ...message, embed: { ...message.embed, chord: { ...body, options } } }));
  expect(sent(plan).map(shape)).toEqual(lean.map(shape));
  expect(plan.chords).toEqual([{ groupId: group_id, size: 2, body: { ...body, options } }]);
});

test('a body that Celery wrote is sent with all results in one argument, as no member of the header’s group', () => {
  const message = one('e-redis-worker-chord-body');
  const options = { task_id: idOf(message), reply_to: message.properties['reply_to'] as string };
  const body = { ...xsum, options: { ...options, group_id: message.headers['group'] as string } };
  const [planned] = sent(startBody(body, [2, 4], context([])), parentOf(message));
  const headers = { ...message.headers, group: null };
  expect(planned && shape(planned)).toEqual(shape({ ...message, headers }));
});

test('a group in the middle of a chain becomes a chord, whose body takes the rest of the chain', () => {
  const messages = recorded('e-redis-worker-chain-to-chord');
  const [first, second] = messages as [Recorded, Recorded];
  const reply_to = first.properties['reply_to'] as string;
  const whole = first.embed.chord as unknown as WireSignature;
  const lean = (signature: WireSignature): WireSignature => {
    const { task_id, reply_to: to } = signature.options;
    return { ...signature, options: { task_id: task_id as string, reply_to: to as string } };
  };
  const [sum, last] = tasksOf(whole).map(lean) as [WireSignature, WireSignature];
  const member = (number: number, { headers }: Recorded): WireSignature =>
    makeSignature('wire.add', { args: [number], options: { task_id: headers['id'] as string, reply_to } });
  const group = makeGroup([member(10, first), member(20, second)], first.headers['group'] as string);
  const chain = freeze(makeChain([add(1, 1), group, sum, last]), context(['first']));
  expect(tasksOf(chain).map(kindOf)).toEqual(['task', 'chord', 'task']);
  const rest = tasksOf(chain).slice(1).reverse();
  const { plan } = afterSuccess({ callbacks: null, errbacks: null, chain: rest, chord: null }, 2, context([]));
  const body = makeChain([sum, last]);
  const expected = messages.map((message) => ({ ...message, embed: { ...message.embed, chord: { ...body } } }));
  expect(sent(plan, parentOf(first)).map(shape)).toEqual(expected.map(shape));
  expect(plan.chords).toMatchObject([{ groupId: first.headers['group'], size: 2 }]);
});

test('what Celery writes for a chord in a chain is read', () => {
  const { embed } = one('e-redis-chain-group-upgraded');
  const [chord] = embed.chain as WireSignature[];
  const { plan } = afterSuccess(embed, 2, context([]));
  const { body } = partsOf(chord as WireSignature);
  expect(plan.chords).toEqual([{ groupId: chord?.options.task_id, size: 2, body }]);
  expect(sent(plan).map(({ args, embed: { chord: waiting } }) => [args, waiting])).toEqual([
    [[2, 2], body],
    [[2, 3], body],
  ]);
});

test('one callback is sent alone, several plain ones as a group', () => {
  const alone = one('e-redis-worker-callback');
  const callbacks = [add(10)];
  const ids = context([idOf(alone)], alone.properties['reply_to'] as string);
  expect(sent(afterSuccess({ ...alone.embed, callbacks }, 3, ids).plan, parentOf(alone)).map(shape)).toEqual([shape(alone)]);
  const messages = recorded('e-redis-worker-two-callbacks');
  const [first] = messages as [Recorded];
  const both = context([...messages.map(idOf), first.headers['group'] as string], first.properties['reply_to'] as string);
  const two = { ...first.embed, callbacks: [add(10), add(20)] };
  expect(sent(afterSuccess(two, 3, both).plan, parentOf(first)).map(shape)).toEqual(messages.map(shape));
});

test('an errback is sent in a group, with the id of the task that failed', () => {
  const message = one('e-redis-worker-errback');
  const { id, group, parent_id } = message.headers as Record<string, string>;
  const ids = context([id as string, group as string], message.properties['reply_to'] as string);
  const plan = errbacksOf([makeSignature('wire.errback1')], parent_id as string, ids);
  expect(sent(plan, parentOf(message)).map(shape)).toEqual([shape(message)]);
});

test('chunks are a group of starmaps', () => {
  const messages = recorded('e-redis-chunks');
  const it = [
    [1, 2],
    [3, 4],
    [5, 6],
  ];
  const task = makeSignature('wire.add');
  const chunks = makeSignature('celery.chunks', { kwargs: { task, it, n: 2 }, subtask_type: 'chunks' });
  const ids = context(
    [...messages.map(idOf), messages[0]?.headers['group'] as string],
    messages[0]?.properties['reply_to'] as string,
  );
  expect(sent(planOf(chunks, ids)).map(shape)).toEqual(messages.map(shape));
});

test.each(['e-redis-map', 'e-redis-starmap', 'e-redis-link', 'e-redis-link-two-linkerror', 'e-redis-stamped'])(
  'the message of %s, read and planned again, is the same',
  (name) => {
    const message = one(name);
    const { stamped_headers, stamps } = message.headers as { stamped_headers: string[] | null; stamps: Record<string, unknown> };
    const { callbacks, errbacks } = message.embed;
    const signature = makeSignature(message.headers['task'] as string, {
      args: message.args as unknown[],
      kwargs: message.kwargs as Record<string, unknown>,
      options: {
        ...{ task_id: idOf(message), reply_to: message.properties['reply_to'] as string },
        ...(callbacks && { link: callbacks }),
        ...(errbacks && { link_error: errbacks }),
        ...(stamped_headers && { stamped_headers, ...stamps }),
      },
    });
    expect(sent(planOf(signature, context([]))).map(shape)).toEqual([shape(message)]);
  },
);

test('steps that Celery puts into the options of a chord’s body are the rest of a chain', () => {
  const last = makeSignature('wire.ident', { options: { task_id: 'last' } });
  const then = makeSignature('wire.add', { args: [1], options: { task_id: 'then' } });
  const body = makeSignature('wire.xsum', { options: { task_id: 'sum', chain: [last, then], group_id: 'header' } });
  const [planned] = sent(startBody(body, [2, 4], context([])));
  expect(planned).toMatchObject({ args: [[2, 4]], headers: { id: 'sum', group: null }, embed: { chain: [last, then] } });
  expect(finalIdOf(body)).toBe('last');
  expect(unreachable([body]).ids).toEqual(['sum', 'then', 'last']);
});
