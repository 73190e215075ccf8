import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseFileUrl, prepareLocation } from './location.js';

describe('a file: URL', () => {
  test.each([
    ['file:./.lovage/queue.db', resolve('.lovage/queue.db')],
    ['file:queue.db', resolve('queue.db')],
    ['FILE:/var/lib/q.db', '/var/lib/q.db'],
    ['file:///var/lib/q.db', '/var/lib/q.db'],
    ['file:/var/lib/with%20space.db', '/var/lib/with space.db'],
  ])('%s names %s', (url, path) => {
    expect(parseFileUrl(url)).toEqual({ path, sync: 'full', maxBytes: null, trusted: false });
  });

  test('takes options', () => {
    expect(parseFileUrl('file:q.db?sync=normal&maxSize=512MiB&fileSystem=trusted')).toMatchObject({
      sync: 'normal',
      maxBytes: 512 * 1_048_576,
      trusted: true,
    });
  });

  test.each([
    ['file:', 'E_CONFIG_URL'],
    ['file:folder/', 'E_CONFIG_URL'],
    ['file://other-host/q.db', 'E_CONFIG_URL'],
    ['file:100%.db', 'E_CONFIG_URL'],
    ['file:q.db?sink=normal', 'E_CONFIG_UNKNOWN_KEY'],
    ['file:q.db?sync=sometimes', 'E_CONFIG_RANGE'],
    ['file:q.db?maxSize=lots', 'E_CONFIG_RANGE'],
    ['file:q.db?maxSize=1KiB', 'E_CONFIG_RANGE'],
    ['file:q.db?fileSystem=', 'E_CONFIG_RANGE'],
  ])('%s is refused with %s', (url, code) => {
    expect(() => parseFileUrl(url)).toThrow(expect.objectContaining({ name: 'ConfigError', code }));
  });
});

test('the folder of the file is made, however deep', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-location-'));
  prepareLocation(parseFileUrl(`file:${folder}/a/b/c/queue.db`));
  expect(statSync(join(folder, 'a/b/c')).isDirectory()).toBe(true);
  rmSync(folder, { recursive: true });
});

test.each(['/proc/none/deep', 'FILE/inside'])('a folder that cannot be made is told, with the folder (%s)', (where) => {
  const folder = mkdtempSync(join(tmpdir(), 'lovage-location-'));
  writeFileSync(join(folder, 'file'), '');
  const path = where.replace('FILE', join(folder, 'file'));
  expect(() => prepareLocation(parseFileUrl(`file:${path}/queue.db`))).toThrow(
    expect.objectContaining({ code: 'E_BROKER_UNREACHABLE' }),
  );
  rmSync(folder, { recursive: true });
});
