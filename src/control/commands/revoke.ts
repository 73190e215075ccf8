/** Tasks that must not run: `revoke`, `terminate`, `revoke_by_stamped_headers`, and `revoked`, the list of them. */
import { STORED_BY_SENDER } from '../../app/control/revoke.js';
import { pythonRepr } from '../../wire/python-repr.js';
import type { CommandArgs, CommandContext, ControlCommand } from '../command.js';
import { CommandError, isTruthy, Listing, ok, textsOf } from '../command.js';
import type { RevokeHow } from '../worker-port.js';

/** Ids in one request: what a worker remembers at most. */
const MOST_IDS = 50_000;
const REVOKED_BYTES = 16 * 1_024 * 1_024;
/** A text of a reply names so many ids at most. */
const LONGEST_TEXT = 64 * 1_024;

export const revokeCommands: readonly ControlCommand[] = [
  {
    name: 'revoke',
    parameters: ['task_id', 'terminate?', 'signal?'],
    open: true,
    run: (args, context) => revoke(args, context, howOf(args)),
  },
  {
    name: 'terminate',
    parameters: ['signal', 'task_id'],
    open: true,
    run: (args, context) => revoke(args, context, { ...howOf(args), terminate: true }),
  },
  {
    name: 'revoke_by_stamped_headers',
    parameters: ['headers', 'terminate?', 'signal?'],
    open: true,
    run: revokeByStamps,
  },
  {
    name: 'revoked',
    alias: 'dump_revoked',
    open: true,
    run: (_args, { port }) =>
      Listing.of(
        port.revocation.list(REVOKED_BYTES),
        (id) => id,
        (count) => `(${count} more, left out of this answer)`,
      ),
  },
];

function howOf({ terminate, signal }: CommandArgs): RevokeHow {
  const named = typeof signal === 'string' || Number.isInteger(signal);
  return { terminate: isTruthy(terminate), signal: named ? String(signal) : 'TERM' };
}

async function revoke(args: CommandArgs, { port, logger }: CommandContext, how: RevokeHow): Promise<object> {
  const ids = [...new Set(textsOf(args.task_id))];
  if (ids.length > MOST_IDS) throw new CommandError('ValueError', `${ids.length} ids in one request: send ${MOST_IDS} at most`);
  const ended = port.revocation.revoke(ids, how);
  // As Celery's workers since 5.6.1: its clients store nothing themselves, and would wait until some worker meets the message.
  if (args[STORED_BY_SENDER] !== true) await port.revocation.store(ids);
  logger.info({ count: ids.length, terminate: how.terminate, ended: ended.length }, 'tasks were revoked by remote control');
  if (!how.terminate) return ok(`tasks ${setRepr(ids)} flagged as revoked`);
  return ok(ended.length === 0 ? 'terminate: tasks unknown' : `terminate: ${cut(ended.join(', '))}`);
}

function revokeByStamps(args: CommandArgs, { port, logger }: CommandContext): object {
  const headers = stampsOf(args.headers);
  const how = howOf(args);
  const ended = port.revocation.revokeByStamps(headers, how);
  logger.info(
    { headers: [...headers.keys()], terminate: how.terminate, ended: ended.length },
    'tasks were revoked by stamped headers',
  );
  const shown = cut(
    pythonRepr(
      Array.isArray(args.headers) ? Object.fromEntries([...headers].map(([name, [value]]) => [name, value])) : args.headers,
      LONGEST_TEXT,
    ),
  );
  if (!how.terminate) return ok(`headers ${shown} flagged as revoked, but not terminated`);
  return ok(ended.length === 0 ? `headers ${shown} were not terminated` : `headers ${shown} revoked`);
}

/** `{name: value or values}`, or what a command line sends: `["name=value", …]`. @throws CommandError */
function stampsOf(given: unknown): ReadonlyMap<string, readonly string[]> {
  const stamps = new Map<string, string[]>();
  const add = (name: string, value: unknown): void => {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      stamps.set(name, [...(stamps.get(name) ?? []), String(value)]);
  };
  if (Array.isArray(given)) {
    for (const pair of textsOf(given)) {
      const [name = '', value] = pair.split('=');
      if (value === undefined) throw new CommandError('IndexError', 'list index out of range');
      add(name, value);
    }
  } else if (typeof given === 'object' && given !== null) {
    for (const [name, values] of Object.entries(given))
      for (const value of Array.isArray(values) ? values : [values]) add(name, value);
  } else throw new CommandError('AttributeError', 'headers must be an object of names and stamps');
  return stamps;
}

/** As Python prints a set, in the order given. */
function setRepr(ids: readonly string[]): string {
  return ids.length === 0 ? 'set()' : `{${cut(ids.map((id) => pythonRepr(id)).join(', '))}}`;
}

function cut(text: string): string {
  return text.length <= LONGEST_TEXT ? text : `${text.slice(0, LONGEST_TEXT)}...`;
}
