/** Asks workers over the broker, as a client does, and hands out their answers as they came. */
import { randomUUID } from 'node:crypto';
import type { Broker } from '../../src/brokers/broker.js';
import { type ControlReply, decodeControlReply, encodeControlRequest, replyExchange } from '../../src/wire/control-message.js';
import { until } from '../worker/harness.js';

export interface Asked {
  readonly destination?: readonly string[];
  readonly pattern?: string;
  readonly matcher?: 'glob' | 'pcre';
  /** Answers to wait for. Default 1. */
  readonly count?: number;
}

export interface Answered {
  /** By node name. */
  readonly values: Readonly<Record<string, unknown>>;
  readonly replies: readonly ControlReply[];
}

/** Waits for so many answers, and fails when they do not come. */
export async function ask(
  broker: Broker,
  method: string,
  args: Readonly<Record<string, unknown>> = {},
  { destination = [], pattern, matcher, count = 1 }: Asked = {},
): Promise<Answered> {
  const ticket = randomUUID();
  const replies: ControlReply[] = [];
  const inbox = await broker.openInbox(replyExchange(), (message) => {
    const reply = decodeControlReply(message);
    if (reply.ticket === ticket) replies.push(reply);
  });
  try {
    await broker.broadcast(
      encodeControlRequest({
        ...{ method, arguments: args, destination, ticket, replyTo: inbox.address, clock: 7 },
        ...{ pattern: pattern ?? null, matcher: matcher ?? null },
      }),
    );
    await until(() => replies.length >= count, `${count} workers have answered ${method}`);
    return { values: Object.fromEntries(replies.flatMap(({ answers }) => answers)), replies };
  } finally {
    await inbox.close();
  }
}

/** The answer of one worker. */
export async function askOne(
  broker: Broker,
  method: string,
  args: Readonly<Record<string, unknown>> = {},
  asked: Asked = {},
): Promise<unknown> {
  return Object.values((await ask(broker, method, args, asked)).values)[0];
}
