import { defineScript, type RedisReply } from '../../../clients/redis.js';
import { versionOf } from '../../../clients/redis-timed-set.js';
import type { ScriptRunner } from './runner.js';

/**
 * Takes up to a batch out of several lists and files each message under a fresh tag, in one step: there is no moment in
 * which a message is in neither place, which kombu's two steps have.
 *
 * KEYS  1 unacked, 2 unacked_index, 3 version of the revocations, 4… lists: for each step, each queue
 * ARGV  1 lease (s), 2 tag prefix, 3 last number used for a tag, 4 total credit, 5 number of queues,
 *       6 length of the global prefix, 7 most bytes, 8… credit of each queue
 * Reply 1 when credit and bytes were left over (0 otherwise), that version, then pairs: number of the list (1 = KEYS[4]), its
 *       messages. Tags are prefix .. number, counted up in this order. A text instead of messages tells why a list could not be popped.
 *
 * With total credit and bytes left, the queues that had credit left are empty; one EXISTS over their lists then arms client
 * tracking: the next LPUSH wakes us. It must stay the only command here that counts as reading (hence GETEX, not GET):
 * before 7.2 Redis tracks all keys of a script at each such command, and a list that is tracked before its RPOP wakes us for
 * what we take ourselves. Big messages end a batch early: it has to fit into the memory of both sides.
 *
 * The first ZREM removes nothing: a server that has become a replica refuses it, before anything was taken.
 *
 * A message is filed as [envelope, "", queue], joined as text: decoding it here would turn [] into {}. The third part is
 * the queue and not the list it came from: when Python restores it, the kombu of Celery 5.6 adds the priority's step to
 * that name itself, and would make a list of `<queue> 3 3` that nobody reads.
 */
const script = defineScript(`
local unacked, index = KEYS[1], KEYS[2]
local prefix, n, total, width = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local skip, bytes = tonumber(ARGV[6]) + 1, tonumber(ARGV[7])
local time = redis.call('TIME')
local score = string.format('%.3f', time[1] + time[2] / 1000000 + ARGV[1])
local credit, reply = {}, { 0, redis.call('GETEX', KEYS[3]) }
redis.call('ZREM', index, '')
for q = 1, width do credit[q] = tonumber(ARGV[7 + q]) end

local function file(list, got)
  local tail = ',"",' .. cjson.encode(string.sub(KEYS[4 + (list - 4) % width], skip)) .. ']'
  local hash, zset, at = {}, {}, 0
  for i = 1, #got do
    n = n + 1
    bytes = bytes - #got[i]
    local tag = prefix .. n
    hash[at + 1], hash[at + 2] = tag, '[' .. got[i] .. tail
    zset[at + 1], zset[at + 2] = score, tag
    at = at + 2
  end
  redis.call('HSET', unacked, unpack(hash))
  redis.call('ZADD', index, unpack(zset))
  reply[#reply + 1] = list - 3
  reply[#reply + 1] = got
end

local function take(list, q, most)
  most = math.min(most, credit[q], total)
  while most > 0 and bytes > 0 do
    local asked = math.min(most, 50)
    local got = redis.pcall('RPOP', KEYS[list], asked)
    if not got then return end
    if got.err then
      reply[#reply + 1] = list - 3
      reply[#reply + 1] = got.err
      credit[q] = 0
      return
    end
    credit[q] = credit[q] - #got
    total = total - #got
    most = most - #got
    file(list, got)
    if #got < asked then return end
  end
end

for first = 4, #KEYS, width do
  if width > 1 then
    -- an equal share for each queue first, so that a long one does not take every slot
    local share = math.ceil(total / width)
    for q = 1, width do take(first + q - 1, q, share) end
  end
  for q = 1, width do take(first + q - 1, q, total) end
  if total <= 0 or bytes <= 0 then break end
end

if total > 0 and bytes > 0 then
  local empty = {}
  reply[1] = 1
  for list = 4, #KEYS do
    if credit[(list - 4) % width + 1] > 0 then empty[#empty + 1] = KEYS[list] end
  end
  if #empty > 0 then redis.call('EXISTS', unpack(empty)) end
end
return reply
`);

export interface PopRequest {
  readonly unacked: string;
  readonly unackedIndex: string;
  readonly revokedVersion: string;
  /** Keys of the lists: for each step, each queue. */
  readonly lists: readonly string[];
  /** Credit of each queue. */
  readonly credits: readonly number[];
  readonly total: number;
  readonly leaseMs: number;
  readonly tagPrefix: string;
  /** Tags are numbered from this + 1. */
  readonly lastTag: number;
  readonly globalPrefix: string;
  /** The batch ends once its messages have so many bytes together. */
  readonly mostBytes: number;
}

export interface PopReply {
  readonly groups: readonly PoppedGroup[];
  /** The queues that had credit left are empty, and a push will wake us. */
  readonly hasDrained: boolean;
  /** Version of the records of revoked tasks, 0 for none. */
  readonly revocations: number;
}

/** Messages of one list in the order of their tags, or why the list could not be popped. */
export type PoppedGroup =
  | { readonly list: number; readonly messages: readonly Buffer[] }
  | { readonly list: number; readonly fault: string };

/** Runs the script; `list` counts from 0 in `request.lists`. */
export async function pop(runner: ScriptRunner, request: PopRequest): Promise<PopReply> {
  const reply = (await runner.run(script, [
    script.sha,
    String(3 + request.lists.length),
    request.unacked,
    request.unackedIndex,
    request.revokedVersion,
    ...request.lists,
    String(request.leaseMs / 1_000),
    request.tagPrefix,
    String(request.lastTag),
    String(request.total),
    String(request.credits.length),
    String(Buffer.byteLength(request.globalPrefix)),
    String(request.mostBytes),
    ...request.credits.map(String),
  ])) as RedisReply[];
  const groups: PoppedGroup[] = [];
  for (let at = 2; at < reply.length; at += 2) {
    const list = (reply[at] as number) - 1;
    const got = reply[at + 1] as Buffer | Buffer[];
    groups.push(Array.isArray(got) ? { list, messages: got } : { list, fault: got.toString() });
  }
  return { groups, hasDrained: reply[0] === 1, revocations: versionOf(reply[1] as RedisReply) };
}
