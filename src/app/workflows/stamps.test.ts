/** Stamps on the wire: the headers of a recording, from a single send and from a signature. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { scriptedApp } from '../../testing/scripted-gateway.js';

const recording = JSON.parse(readFileSync(new URL('../../../tests/vectors/e-redis-stamped.json', import.meta.url), 'utf8')) as {
  wire: { broker_db0: { celery: { elements: { envelope: { headers: Record<string, unknown> } }[] } } };
};
const { stamped_headers, stamps } = recording.wire.broker_db0.celery.elements[0]?.envelope.headers ?? {};
const STAMPS = { stamp: 'a', tag: ['x', 'y'] };

test('a stamped task has the headers that Celery writes', async () => {
  const { app, gateway } = scriptedApp();
  const add = app.fn('wire.add', (x: number, y: number) => x + y);
  await add.with({ stamps: STAMPS }).send(1, 2);
  await add.with({ stamps: STAMPS }).si(1, 2).send();
  await add.si(1, 2).with({ stamps: STAMPS }).send();
  expect(gateway.sent).toHaveLength(3);
  for (const { message } of gateway.sent) expect(message.headers).toMatchObject({ stamped_headers, stamps });
  expect([stamped_headers, stamps]).toEqual([['stamp', 'tag'], STAMPS]);
});

test('a list of the caller may change after it was given', async () => {
  const { app, gateway } = scriptedApp();
  const tag = ['x'];
  const bound = app.fn('wire.add', (x: number) => x).with({ stamps: { tag } });
  tag.push('y');
  await bound.send(1);
  expect(gateway.sent[0]?.message.headers['stamps']).toEqual({ tag: ['x'] });
});
