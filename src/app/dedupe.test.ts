/** Dedupe as callers see it. */
import { describe, expect, test } from 'vitest';
import { duplicateOf } from '../brokers/duplicate.js';
import { refusal, scriptedApp } from '../testing/scripted-gateway.js';
import { dedupeKeyOf, resolveDedupe } from './dedupe.js';
import { SendManyError } from './send-many-error.js';

describe('the option', () => {
  test.each<[unknown, string, RegExp]>([
    [{ key: 'k' }, 'E_CONFIG_TYPE', /needs `for`/],
    [{ key: 'k', for: '0.5s' }, 'E_CONFIG_RANGE', /from 1s to 30d/],
    [{ key: 'k', for: '31d' }, 'E_CONFIG_RANGE', /from 1s to 30d/],
    [{ key: 'k', for: 60 }, 'E_CONFIG_RANGE', /not a duration/],
    [{ key: '', for: '1m' }, 'E_CONFIG_RANGE', /1 to 1024 characters/],
    [{ key: 'k'.repeat(1_025), for: '1m' }, 'E_CONFIG_RANGE', /1 to 1024 characters/],
    [{ key: 7, for: '1m' }, 'E_CONFIG_RANGE', /key must be text/],
    [{ key: 'k', for: '1m', onConflict: 'replace' }, 'E_CONFIG_RANGE', /'return-existing' or 'reject'/],
    [{ key: 'k', for: '1m', ttl: '1m' }, 'E_CONFIG_UNKNOWN_KEY', /"ttl"/],
    ['k', 'E_CONFIG_TYPE', /object/],
  ])('%j is refused with %s', (dedupe, code, text) => {
    const { app } = scriptedApp();
    const task = app.fn('t', () => 1);
    const bind = (): unknown => task.with({ dedupe: dedupe as never });
    expect(bind).toThrow(expect.objectContaining({ code }));
    expect(bind).toThrow(text);
  });

  test('keys travel short, and each task has its own', () => {
    const long = resolveDedupe({ key: 'k'.repeat(1_024), for: '1h' }, 'dedupe');
    expect(dedupeKeyOf('a', long)).toEqual({ key: expect.stringMatching(/^[0-9a-f]{40}$/), ttlMs: 3_600_000 });
    expect(dedupeKeyOf('a', long)).toEqual(dedupeKeyOf('a', long));
    expect(dedupeKeyOf('b', long).key).not.toBe(dedupeKeyOf('a', long).key);
    expect(dedupeKeyOf('a', { ...long, key: 'k' }).key).not.toBe(dedupeKeyOf('a', long).key);
  });
});

describe('a send', () => {
  /** A broker in which `first` was sent before under every key. */
  function taken() {
    const { app, gateway } = scriptedApp();
    gateway.onPublish = ({ messages }) => messages.map((message) => (message.dedupe ? duplicateOf(message, 'first') : null));
    return { app, gateway, task: app.fn('t', (n: number) => n) };
  }

  test('without the option has no key, and its handle says that it was sent', async () => {
    const { gateway, task } = taken();
    const handle = await task.send(1);
    expect(handle.deduplicated).toBe(false);
    expect(gateway.sent[0]).not.toHaveProperty('dedupe');
  });

  test('that is the first of its key says so', async () => {
    const { app, gateway } = scriptedApp();
    const task = app.fn('t', () => 1);
    const handle = await task.with({ dedupe: { key: 'k', for: '1m' }, countdown: '1h', priority: 3, id: 'mine' }).send();
    expect([handle.id, handle.deduplicated]).toEqual(['mine', false]);
    const dedupe = { key: dedupeKeyOf('t', { key: 'k', ttlMs: 60_000, onConflict: 'reject' }).key, ttlMs: 60_000 };
    expect(gateway.sent[0]).toMatchObject({ dedupe, priority: 3, notBeforeMs: expect.any(Number) });
  });

  test('that comes too late gives the handle of the first', async () => {
    const { gateway, task } = taken();
    gateway.metas.set('first', '{"status":"SUCCESS","result":42,"traceback":null,"children":[],"task_id":"first"}');
    const handle = await task.with({ dedupe: { key: 'k', for: '1m' } }).send(1);
    expect([handle.id, handle.deduplicated]).toEqual(['first', true]);
    expect(await handle.result({ timeout: '1s' })).toBe(42);
  });

  test('that comes too late is rejected where that is asked for, with the id of the first', async () => {
    const { task } = taken();
    const error = await refusal(() => task.with({ id: 'mine', dedupe: { key: 'k', for: '1m', onConflict: 'reject' } }).send(1));
    expect(error).toMatchObject({ code: 'E_DUPLICATE_SEND', outcome: 'not-sent', taskId: 'mine', existingId: 'first' });
    expect(error.message).toContain('first');
  });

  test('of many rows has a key a row: one for all of them is refused', async () => {
    const { app, gateway, task } = taken();
    const dedupe = { key: 'k', for: '1m' } as const;
    const handles = await task.sendMany([{ args: [1], options: { dedupe } }, { args: [2] }]);
    expect(handles.map(({ deduplicated }) => deduplicated)).toEqual([true, false]);
    const rejecting = { ...dedupe, onConflict: 'reject' } as const;
    const error = await refusal(() => task.sendMany([{ args: [1], options: { dedupe: rejecting } }, { args: [2] }]));
    expect(error).toBeInstanceOf(SendManyError);
    expect((error as SendManyError).results.map(({ status }) => status)).toEqual(['failed', 'sent']);
    const before = gateway.publishes.length;
    expect(await refusal(() => task.with({ dedupe }).sendMany([{ args: [1] }]))).toMatchObject({ code: 'E_CONFIG_CONFLICT' });
    expect(gateway.publishes).toHaveLength(before);
    await app.close();
  });

  test('through middleware keeps its key and its handle', async () => {
    const { app, gateway } = scriptedApp({ middleware: [{ name: 'm', publish: (request, next) => next(request) }] });
    gateway.onPublish = ({ messages }) => messages.map((message) => duplicateOf(message, 'first'));
    const handle = await app
      .fn('t', () => 1)
      .with({ dedupe: { key: 'k', for: '1m' } })
      .send();
    expect([handle.id, handle.deduplicated]).toEqual(['first', true]);
  });
});
