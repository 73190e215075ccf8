/**
 * What a task that succeeded leads to, as messages: its callbacks and the next step of its chain. Made here, where the body is decoded
 * and the result at hand; the engine sends them before it stores the result. Next stop: `worker/engine/following/continuation.ts`.
 */
import { hostname } from 'node:os';
import { afterSuccess, type Embed, hasFollowing } from '../../canvas/after.js';
import { idsFrom } from '../../canvas/ids.js';
import { type OutgoingSettings, outgoingOf } from '../../canvas/outgoing.js';
import { type CanvasFacts, canvasSettings } from '../../canvas/routes.js';
import type { ResultChild } from '../../wire/result-meta.js';
import { decodeJson, encodeJson } from '../../wire/serializers/json.js';
import type { RunContext } from './context.js';
import type { OutcomeBody } from './execute.js';
import { plainFailure } from './failure.js';

type Success = OutcomeBody & { readonly kind: 'success' };

export interface WithFollowing {
  readonly outcome: OutcomeBody;
  /** What of it the task's result lists. */
  readonly children: readonly ResultChild[];
}

/** Celery's form; monitors show it. */
const ORIGIN = `gen${process.pid}@${hostname()}`;

/** The success with what follows it, or a failure if that cannot be sent: too long for a message, or no signature at all. */
export function withFollowing(success: Success, context: RunContext, embed: Embed, facts: () => CanvasFacts): WithFollowing {
  const outcome: Success = embed.chord === null ? success : { ...success, isPart: true };
  if (!hasFollowing(embed)) return { outcome, children: [] };
  try {
    return planned(outcome, context, embed, facts());
  } catch (error) {
    return { outcome: plainFailure(error), children: [] };
  }
}

function planned(outcome: Success, context: RunContext, embed: Embed, facts: CanvasFacts): WithFollowing {
  const { id, rootId } = context;
  // as the store will give it to everybody else
  const result = decodeJson(outcome.resultJson);
  const { plan, children } = afterSuccess(embed, result, { newId: idsFrom(id, 'success'), replyTo: null });
  const settings: OutgoingSettings = {
    ...canvasSettings(facts),
    ...{ nowMs: Date.now(), origin: ORIGIN, parent: { id, rootId }, isRepeated: context.redelivered },
  };
  const follow = plan.tasks.map((task) => {
    const { id: _id, task: _task, ...message } = outgoingOf(task, settings);
    return message;
  });
  const chords = plan.chords.map(({ groupId, size, body }) => ({ groupId, size, body: encodeJson(body, { mode: facts.json }) }));
  return { outcome: { ...outcome, follow, ...(chords.length > 0 && { chords }) }, children };
}
