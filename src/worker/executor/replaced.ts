/** A task that threw `ctx.replace(…)`: the messages that take its place. The engine sends them before it settles the delivery. */
import { hostname } from 'node:os';
import { throughPublishHooks } from '../../app/workflows/canvas-hooks.js';
import type { Embed } from '../../canvas/after.js';
import { idsFrom } from '../../canvas/ids.js';
import { outgoingOf } from '../../canvas/outgoing.js';
import { inPlaceOf, type ReplacedTask, replacement } from '../../canvas/replace.js';
import { type CanvasFacts, canvasSettings } from '../../canvas/routes.js';
import { encodeJson } from '../../wire/serializers/json.js';
import type { TaskHeaders } from '../../wire/task-message.js';
import type { RunRequest } from '../port.js';
import type { RunContext } from './context.js';
import type { ExecuteOptions, OutcomeBody } from './execute.js';
import { plainFailure } from './failure.js';

const NOTHING_BEHIND: Embed = { callbacks: null, errbacks: null, chain: null, chord: null };
const ORIGIN = `gen${process.pid}@${hostname()}`;

function replacedTask(headers: TaskHeaders, request: RunRequest): ReplacedTask {
  const { id, groupId, groupIndex, replacedTaskNesting: nesting } = headers;
  return { id, groupId, groupIndex, nesting, epoch: request.epoch ?? 0 };
}

/**
 * What takes its place passes the publish hooks, as anything that a task sends. Their `next()` resolves before the engine sends it.
 * @throws what the first hook that refuses throws
 */
export async function passHooks(
  context: RunContext,
  headers: TaskHeaders,
  request: RunRequest,
  { publishHooks, canvas }: Pick<ExecuteOptions, 'publishHooks' | 'canvas'>,
): Promise<void> {
  if (context.replacedBy === null) return;
  const task = replacedTask(headers, request);
  const ids = { newId: idsFrom(task.id, `hooks ${task.nesting} ${task.epoch}`), replyTo: headers.replyTo };
  await throughPublishHooks(publishHooks, inPlaceOf(context.replacedBy, task, ids), canvas(), async (changed) => {
    context.replacedBy = changed;
  });
}

/** Whether a task or a hook threw `ctx.replace(…)`. */
export const isReplacing = (thrown: unknown): boolean => (thrown as { steer?: unknown } | null)?.steer === 'replace';

/** A failure if they cannot be sent: too long for a message, or no signature at all. */
export function replacedBy(
  context: RunContext,
  headers: TaskHeaders,
  request: RunRequest,
  embed: Embed | null,
  facts: CanvasFacts,
): OutcomeBody {
  const task = replacedTask(headers, request);
  const { id, nesting } = task;
  // A later run makes tasks of its own: those of an earlier one end under an epoch that the store refuses by then.
  const ids = { newId: idsFrom(id, `replaced ${nesting} ${task.epoch}`), replyTo: headers.replyTo };
  try {
    const signature = context.replacedBy;
    if (signature === null) throw new TypeError('replace() takes a signature, which task.si() makes');
    const plan = replacement(signature, embed ?? NOTHING_BEHIND, task, ids);
    // Python calls a replaced task its own child
    const parent = { id, rootId: context.rootId };
    const settings = { ...canvasSettings(facts), nowMs: Date.now(), origin: ORIGIN, parent, isRepeated: context.redelivered };
    const follow = plan.tasks.map((each) => {
      const { id: _id, task: _task, ...message } = outgoingOf(each, settings);
      return message;
    });
    const chords = plan.chords.map(({ body, ...chord }) => ({ ...chord, body: encodeJson(body, { mode: facts.json }) }));
    return { kind: 'replaced', follow, chords, canvas: true };
  } catch (error) {
    return { ...plainFailure(error), canvas: true };
  }
}
