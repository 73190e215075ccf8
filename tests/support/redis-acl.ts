/** The rights that the guide asks for, read from the guide: what is tested is what people copy. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const GUIDE = fileURLToPath(new URL('../../docs/guides/redis.md', import.meta.url));

/**
 * Arguments for redis-server that give it such a user besides the default one: they outlive a restart, an ACL SETUSER does not.
 * @param prefix instead of the guide's `shop:`
 */
export function guideUser(name: string, password: string, prefix: string, db = 0): string[] {
  const rules = /^ACL SETUSER shop reset (on [^`]+)```/m.exec(readFileSync(GUIDE, 'utf8'))?.[1];
  if (rules === undefined) throw new Error('docs/guides/redis.md has no ACL SETUSER in it any more');
  const words = rules.trim().split(/\s+/);
  return [
    '--user',
    name,
    ...words.map((word) => word.replace('PASSWORD', password).replace('shop:', prefix).replace('/0.', `/${db}.`)),
  ];
}
