import { defineScript, type RedisReply } from '../../../clients/redis.js';
import { versionOf } from '../../../clients/redis-timed-set.js';
import type { ScriptRunner } from './runner.js';

/**
 * Takes over messages whose lease is over, each under a fresh tag and with its losses, and tells what the future holds.
 * Only tags of ours are taken: Python's scores are the time of delivery, so they lie in the past by nature.
 *
 * KEYS  1 unacked, 2 unacked_index, 3 lovage:delayed, 4 lovage:canary, 5 version of the
 *       revocations, 6 lovage:promoter, 7… lists: for each step, each queue
 * ARGV  1 lease (s), 2 tag prefix, 3 last number used for a tag, 4 total credit, 5 number of queues, 6 global prefix,
 *       7 score to start from, 8 how many to skip there, 9 how many to look at, 10 life of a set of losses (s), 11 server time (s) after
 *       which nothing is taken, 12 how long we are good for as a promoter (ms), 13… credit of each queue
 * Reply 1 ms until the next live lease ends (-1: none), 2 ms until a delayed message is due (-1: none), 3 how many lists hold
 *       something, 4 looked at, 5 kept among them, 6 score of the first that only lacked credit ('' : none), 7 now as a
 *       score, 8 whether the canary is there, 9 that version, 10… for each message taken: number of its queue, losses, envelope. Tags as in pop.
 *
 * The first ZREM removes nothing: a server that has become a replica refuses it, and an idle worker learns of it here.
 */
const script = defineScript(`
local unacked, index = KEYS[1], KEYS[2]
local prefix, n, total, width, global = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local score = string.format('%.3f', now + ARGV[1])
local edge = string.format('%.3f', now)
redis.call('ZREM', index, '')
-- never shortened: others may be good for longer
if redis.call('PTTL', KEYS[6]) < tonumber(ARGV[12]) then redis.pcall('SET', KEYS[6], '1', 'PX', ARGV[12]) end
local place, credit, taken = {}, {}, {}
for q = 1, width do
  place[KEYS[6 + q]] = q
  credit[q] = tonumber(ARGV[12 + q])
end
-- late: the server was silent meanwhile, and no owner could renew
if now > tonumber(ARGV[11]) then total = 0 end

local function messageId(raw)
  local fine, envelope = pcall(cjson.decode, raw)
  local tag = fine and type(envelope) == 'table' and type(envelope.properties) == 'table' and envelope.properties.delivery_tag
  return type(tag) == 'string' and tag ~= '' and tag or redis.sha1hex(raw)
end

local found = redis.call('ZRANGEBYSCORE', index, ARGV[7], edge, 'WITHSCORES', 'LIMIT', ARGV[8], ARGV[9])
local kept, blocked = 0, ''
for i = 1, #found, 2 do
  local old, stays = found[i], true
  if string.sub(old, 1, 7) == 'lovage:' then
    local value = redis.call('HGET', unacked, old)
    local cut = value and string.match(value, '^.*(),"",')
    local fine, names = false, nil
    if cut then fine, names = pcall(cjson.decode, '[' .. string.sub(value, cut + 4)) end
    local q = fine and type(names[1]) == 'string' and place[global .. names[1]]
    if not value then
      redis.call('ZREM', index, old)
      stays = false
    elseif q then
      if total > 0 and credit[q] > 0 then
        local raw = string.sub(value, 2, cut - 1)
        local losses = ARGV[6] .. 'lovage:losses:' .. messageId(raw)
        n = n + 1
        redis.call('ZREM', index, old)
        redis.call('HDEL', unacked, old)
        redis.call('HSET', unacked, prefix .. n, value)
        redis.call('ZADD', index, score, prefix .. n)
        -- 1 where somebody else's key is in the way: told, not remembered
        local count = redis.pcall('SCARD', losses)
        if type(count) ~= 'number' then
          count = 1
        else
          -- the first loss counts whatever the dead worker had begun; of the others those whose tag is in here, because it was secured
          if count == 0 then count = redis.call('SADD', losses, old) end
          redis.call('EXPIRE', losses, ARGV[10])
        end
        taken[#taken + 1] = q
        taken[#taken + 1] = count
        taken[#taken + 1] = raw
        total = total - 1
        credit[q] = credit[q] - 1
        stays = false
      elseif blocked == '' then
        blocked = found[i + 1]
      end
    end
  end
  if stays then kept = kept + 1 end
end

local lease = redis.call('ZRANGEBYSCORE', index, '(' .. edge, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local due = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
local ready = #KEYS > 6 and redis.call('EXISTS', unpack(KEYS, 7)) or 0
return {
  lease[2] and math.ceil((lease[2] - now) * 1000) or -1,
  due[2] and math.max(0, math.ceil(due[2] - now * 1000)) or -1,
  ready, #found / 2, kept, blocked, edge, redis.call('EXISTS', KEYS[4]),
  redis.call('GET', KEYS[5]), unpack(taken)
}
`);

export interface SweepRequest {
  readonly unacked: string;
  readonly unackedIndex: string;
  readonly delayed: string;
  readonly canary: string;
  readonly revokedVersion: string;
  readonly promoter: string;
  readonly promoterMs: number;
  readonly lists: readonly string[];
  readonly credits: readonly number[];
  readonly total: number;
  readonly leaseMs: number;
  readonly tagPrefix: string;
  readonly lastTag: number;
  readonly globalPrefix: string;
  readonly fromScore: string;
  readonly skip: number;
  readonly limit: number;
  readonly lossTtlMs: number;
  /** By the server's clock, in milliseconds: carried out later than this, the script takes nothing over. */
  readonly notAfterMs: number;
}

export interface SweepReply {
  readonly leaseEndsInMs: number | null;
  readonly dueInMs: number | null;
  readonly readyLists: number;
  readonly looked: number;
  readonly kept: number;
  readonly blockedScore: string | null;
  /** The server's clock in seconds, as a score. */
  readonly nowScore: string;
  readonly hasCanary: boolean;
  /** Version of the records of revoked tasks, 0 for none. */
  readonly revocations: number;
  readonly taken: readonly { readonly queue: number; readonly losses: number; readonly raw: Buffer }[];
}

/** Runs the script; `queue` counts from 0. */
export async function sweep(runner: ScriptRunner, request: SweepRequest): Promise<SweepReply> {
  const reply = (await runner.run(script, [
    script.sha,
    String(6 + request.lists.length),
    request.unacked,
    request.unackedIndex,
    request.delayed,
    request.canary,
    request.revokedVersion,
    request.promoter,
    ...request.lists,
    String(request.leaseMs / 1_000),
    request.tagPrefix,
    String(request.lastTag),
    String(request.total),
    String(request.credits.length),
    request.globalPrefix,
    request.fromScore,
    String(request.skip),
    String(request.limit),
    String(Math.ceil(request.lossTtlMs / 1_000)),
    String(request.notAfterMs / 1_000),
    String(request.promoterMs),
    ...request.credits.map(String),
  ])) as RedisReply[];
  const [lease, due, readyLists, looked, kept, blocked, now, canary] = reply as [
    ...[number, number, number, number, number, Buffer, Buffer, number],
  ];
  const taken: SweepReply['taken'][number][] = [];
  for (let at = 9; at < reply.length; at += 3) {
    taken.push({ queue: (reply[at] as number) - 1, losses: reply[at + 1] as number, raw: reply[at + 2] as Buffer });
  }
  return {
    leaseEndsInMs: lease < 0 ? null : lease,
    dueInMs: due < 0 ? null : due,
    readyLists,
    looked,
    kept,
    blockedScore: blocked.length === 0 ? null : blocked.toString(),
    nowScore: now.toString(),
    hasCanary: canary === 1,
    revocations: versionOf(reply[8] as RedisReply),
    taken,
  };
}
