/** Runs any Standard Schema, at once when it answers at once, and words its issues. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import type { LovageError } from '../core/errors.js';

/** How many issues a message lists. */
const MAX_ISSUES = 5;

/** A value, or a promise of it: most schemas answer at once, and a promise for each task would cost more than they do. */
export type Eventually<T> = T | PromiseLike<T>;

/** Whether it must be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { readonly then?: unknown }).then === 'function';
}

/** Whether this is a Standard Schema (arktype's are functions). */
export function isSchema(value: unknown): value is StandardSchemaV1 {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  const props = (value as { readonly '~standard'?: { readonly validate?: unknown } })['~standard'];
  return typeof props?.validate === 'function';
}

/** @param refuse makes the error from the issues in words */
export function validate(schema: StandardSchemaV1, value: unknown, refuse: (issues: string) => LovageError): Eventually<unknown> {
  const result = schema['~standard'].validate(value);
  return isThenable(result) ? result.then((settled) => accept(settled, refuse)) : accept(result, refuse);
}

function accept(result: StandardSchemaV1.Result<unknown>, refuse: (issues: string) => LovageError): unknown {
  if (result.issues === undefined) return result.value;
  throw refuse(describeIssues(result.issues));
}

/** `items[2].price: expected a number; …` */
export function describeIssues(issues: readonly StandardSchemaV1.Issue[]): string {
  const shown = issues
    .slice(0, MAX_ISSUES)
    .map(({ message, path }) => (path === undefined || path.length === 0 ? message : `${describePath(path)}: ${message}`));
  if (issues.length > MAX_ISSUES) shown.push(`and ${issues.length - MAX_ISSUES} more`);
  return shown.join('; ');
}

function describePath(path: NonNullable<StandardSchemaV1.Issue['path']>): string {
  let text = '';
  for (const segment of path) {
    const key = typeof segment === 'object' ? segment.key : segment;
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text;
}
