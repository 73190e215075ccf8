/**
 * A Redis Cluster as we use it: all keys of an app are in one slot, so one node has them all, and everything that holds for a
 * single server holds for that node. Here it is found, and scripts are kept from running while the slot is on its way.
 *
 * Does not own: the connection. A node that is no longer the owner refuses (MOVED, ASK, CLUSTERDOWN), which counts as a
 * server that is away (`NOT_NOW`), so `redis.ts` drops the connection and asks here again.
 */
import { sleep } from '../core/clock.js';
import { BrokerError, toError } from '../core/errors.js';
import { ABSENT_KEY, CONNECT_TIMEOUT_MS, defineScript, isAuthError, type Library, type RedisScript } from './redis-library.js';
import type { RedisTarget } from './redis-url.js';
import type { RedisArg } from './resp.js';
import { tlsRefusal } from './tls.js';

/** A node that does not answer holds us up so long before the next one is asked as well. */
const NEXT_AFTER_MS = 250;

interface Node {
  readonly host: string;
  readonly port: number;
}

/**
 * The target with host and port of the node that has our slot, as the first of the URL's nodes says that answers. Each try
 * begins with another, because one that is cut off from the rest goes on naming an owner of the past.
 */
export async function clusterOwner(library: Library, target: RedisTarget, tries: number): Promise<RedisTarget> {
  const { hosts } = target.cluster ?? { hosts: [] };
  const found = new AbortController();
  try {
    const owner = await Promise.any(
      hosts.map(async (_, index) => {
        if (index > 0) await sleep(index * NEXT_AFTER_MS, found.signal);
        return ask(library, target, hosts[(index + tries) % hosts.length] as Node);
      }),
    );
    return { ...target, ...owner };
  } catch (error) {
    const reasons = error instanceof AggregateError ? (error.errors as unknown[]) : [error];
    throw reasons.find((reason) => isAuthError(reason) || tlsRefusal(reason) !== null) ?? reasons[0];
  } finally {
    found.abort();
  }
}

async function ask(library: Library, target: RedisTarget, node: Node): Promise<Node> {
  const redis = library.open({ ...target, ...node }, 'lovage:cluster', 0);
  let told: Error | null = null;
  redis.on('error', (error: Error) => {
    told ??= error;
  });
  // the library's own limit ends with the connection's making
  const timer = setTimeout(() => redis.disconnect(), CONNECT_TIMEOUT_MS);
  try {
    await redis.connect();
    const slot = Number(await redis.call('CLUSTER', 'KEYSLOT', target.prefix));
    return ownerIn(await redis.call('CLUSTER', 'SLOTS'), slot, node, target.label);
  } catch (error) {
    if (/cluster support disabled/.test(String(error)))
      throw new BrokerError(
        'E_NOT_SUPPORTED',
        `${target.label}: ${node.host}:${node.port} is no node of a cluster: write redis://`,
      );
    throw /Connection is closed/.test(String(error)) ? (told ?? new Error(`${node.host}:${node.port} does not answer`)) : error;
  } finally {
    clearTimeout(timer);
    redis.disconnect();
  }
}

/** Reads the answer to CLUSTER SLOTS: lists of first slot, last slot, owner, replicas; a node is a list of host, port and more. */
export function ownerIn(slots: unknown, slot: number, asked: Node, label: string): Node {
  for (const range of Array.isArray(slots) ? (slots as unknown[]) : []) {
    const [first, last, owner] = Array.isArray(range) ? (range as unknown[]) : [];
    if (!(Number(first) <= slot && slot <= Number(last)) || !Array.isArray(owner)) continue;
    const [host, port] = owner as unknown[];
    if (host === '?') break;
    // no name: the one by which it was asked
    return { host: typeof host === 'string' && host !== '' ? host : asked.host, port: Number(port) };
  }
  throw new BrokerError('E_BROKER_UNREACHABLE', `${label}: no node that can be reached has slot ${slot}, where our keys are`);
}

/**
 * The same script with one more key, which never exists. While the slot moves, a node refuses whatever names a key that it
 * does not have (any more), and it looks at the named ones only, before it starts. Without this one a script would run on keys
 * of which some have moved, and stop half way at one that it made up itself.
 */
export function guarded(script: RedisScript, prefix: string, args: RedisArg[]): { script: RedisScript; args: RedisArg[] } {
  let guard = guards.get(script);
  if (!guard) {
    guard = defineScript(`table.remove(KEYS)\n${script.lua}`);
    guards.set(script, guard);
  }
  const count = Number(args[1]);
  const ends = 2 + count;
  return {
    script: guard,
    args: [guard.sha, String(count + 1), ...args.slice(2, ends), prefix + ABSENT_KEY, ...args.slice(ends)],
  };
}

/** One a script of ours. */
const guards = new WeakMap<RedisScript, RedisScript>();

/** Why no owner was found, for people. */
export function explainOwnerless(error: unknown, target: RedisTarget): Error {
  const cause = toError(error);
  const refusal = target.tls ? tlsRefusal(cause) : null;
  if (refusal !== null) return new BrokerError('E_BROKER_AUTH', `no TLS connection to ${target.label}: ${refusal}`, { cause });
  if (isAuthError(cause))
    return new BrokerError('E_BROKER_AUTH', `${target.label} refused the credentials: ${cause.message}`, { cause });
  return cause;
}
