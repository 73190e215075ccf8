/**
 * What a task that succeeded leads to, as messages: its callbacks and the next step of its chain. Made here, where the body is decoded
 * and the result at hand; the engine sends them before it stores the result. Next stop: `worker/engine/continuation.ts`.
 */
import type { OutgoingMessage } from '../../brokers/broker.js';
import { afterSuccess, type Embed, joinsParts } from '../../canvas/after.js';
import { idsFrom } from '../../canvas/ids.js';
import { type OutgoingSettings, outgoingOf } from '../../canvas/outgoing.js';
import { type CanvasFacts, canvasSettings } from '../../canvas/routes.js';
import { TaskError } from '../../core/errors.js';
import type { ResultChild } from '../../wire/result-meta.js';
import type { RunContext } from './context.js';

export interface Following {
  readonly messages: readonly OutgoingMessage[];
  readonly children: readonly ResultChild[];
}

/** @param origin who sends, for people */
export function followingOf(
  context: RunContext,
  embed: Embed,
  result: unknown,
  { facts, origin, nowMs }: { readonly facts: CanvasFacts; readonly origin: string; readonly nowMs: number },
): Following {
  const { id, rootId } = context;
  const { plan, children } = afterSuccess(embed, result, { newId: idsFrom(id, 'success'), replyTo: null });
  const settings: OutgoingSettings = {
    ...canvasSettings(facts),
    ...{ nowMs, origin, parent: { id, rootId }, isRepeated: context.redelivered },
  };
  const messages = plan.tasks.map((task) => {
    const { id: _id, task: _task, ...message } = outgoingOf(task, settings);
    return message;
  });
  return { messages, children };
}

/** Until results are counted, a message that asks for it is parked: running it and forgetting the rest would lose work. */
export function refuseChords(embed: Embed): void {
  if (joinsParts(embed))
    throw new TaskError(
      'E_NOT_SUPPORTED',
      'the message is part of a chord or leads to one, and this version does not count their parts',
    );
}
