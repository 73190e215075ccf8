/**
 * One listener to the schedules of an app in PostgreSQL: a connection of its own, made again for ever. It counts as up only once it has
 * heard a word of its own that came by another connection, and goes on proving that: behind a pooler that hands connections from
 * transaction to transaction everything works but `LISTEN`, and schedulers that hear nothing would take the lead from each other for ever.
 */
import { randomUUID } from 'node:crypto';
import { PostgresLinkError } from '../../../clients/postgres-library.js';
import { PostgresListener } from '../../../clients/postgres-listener.js';
import type { PostgresTarget } from '../../../clients/postgres-url.js';
import { codeOf } from '../../../core/errors.js';
import { inTime } from '../../../core/in-time.js';
import type { Logger } from '../../../core/logger.js';
import type { BeatListener } from '../../beat-store.js';

export interface ListeningOptions {
  readonly target: PostgresTarget;
  readonly logger: Logger;
  readonly channel: string;
  readonly listener: BeatListener;
  /** Notifies a channel by another connection. */
  readonly notify: (channel: string, payload: string) => Promise<void>;
}

/** A leader finds a dead connection by its own signs of life; this is how a standby finds one: four times a minute. */
const ECHO_MS = 15_000;
/** Until then its own word must have come back. */
const ECHO_LIMIT_MS = 5_000;
/** Reasons told of one outage. */
const MOST_REASONS = 8;

/** Listens until it is closed. */
export function listenTo({ target, logger, channel, listener, notify }: ListeningOptions): { close(): Promise<void> } {
  // a channel of its own: what one listener says to itself wakes no other
  const own = `${target.schema}:echo:${randomUUID().slice(-12)}`;
  let onEcho: (() => void) | null = null;
  /** Each reason is told once an outage: the first is often the server's start, and not what keeps it from being heard. */
  const told = new Set<string>();
  const echo = async (): Promise<void> => {
    const heard = new Promise<void>((resolve) => {
      onEcho = resolve;
    });
    await notify(own, 'echo');
    await inTime(heard, {
      timeoutMs: ECHO_LIMIT_MS,
      onLate: () =>
        new PostgresLinkError(
          'E_CONNECTION_LOST',
          `notifications of ${target.label} do not arrive: give the address of the server itself, or of a PgBouncer in session mode`,
        ),
      onAbort: (reason) => reason as Error,
    });
  };
  const connection = new PostgresListener({
    ...{ target, logger, channel, name: 'lovage:beat:listening', beatMs: ECHO_MS },
    setup: async (line) => {
      await line.run(`LISTEN "${own}"`);
      await echo();
    },
    onReady: () => {
      if (told.size > 0) logger.info({ server: target.label }, 'beat: schedules are listened to again');
      told.clear();
      listener.onUp();
    },
    onPayload: (payload) => {
      if (payload === 'echo') return onEcho?.();
      const lead = /^lead (\d+) (.*)$/s.exec(payload);
      if (lead) listener.onLead({ owner: lead[2] || null, epoch: Number(lead[1]) });
      else listener.onChange();
    },
    beat: echo,
    farewell: async () => {},
    onLost: (cause) => listener.onDown(cause),
    onFailed: (error) => {
      if (told.has(error.message) || told.size >= MOST_REASONS || codeOf(error) === 'E_CLOSED') return;
      told.add(error.message);
      const fields = { server: target.label, code: codeOf(error), cause: error.message };
      logger.warn(fields, 'beat: schedules cannot be listened to, so this scheduler cannot lead; trying again');
    },
  });
  connection.open();
  return { close: () => connection.rest() };
}
