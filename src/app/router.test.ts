import { expect, test } from 'vitest';
import { createRouter } from './router.js';

test.each([
  ['reports.*', 'reports.daily', true],
  ['reports.*', 'reports.', true],
  ['reports.*', 'reports', false],
  ['reports.*', 'my.reports.daily', false],
  ['*.daily', 'reports.daily', true],
  ['a*b*c', 'a-b-c', true],
  ['a*b*c', 'abc', true],
  ['a*b*c', 'acb', false],
  ['a*a', 'a', false],
  ['a*a', 'aa', true],
  ['*', 'anything', true],
  ['exact', 'exact', true],
  ['exact', 'exactly', false],
  ['a.b', 'axb', false],
  ['(a+)+$', 'aaaa', false],
])('the pattern %s and the name %s: %s', (pattern, name, fits) => {
  expect(createRouter({ [pattern]: { queue: 'q' } }).find(name)).toEqual(fits ? { queue: 'q' } : null);
});

test('the first route that fits counts', () => {
  const router = createRouter({
    'reports.urgent': { queue: 'fast', priority: 9 },
    'reports.*': { queue: 'slow' },
    '*': { queue: 'rest' },
  });
  expect(router.find('reports.urgent')).toEqual({ queue: 'fast', priority: 9 });
  expect(router.find('reports.daily')).toEqual({ queue: 'slow' });
  expect(router.find('x')).toEqual({ queue: 'rest' });
});
