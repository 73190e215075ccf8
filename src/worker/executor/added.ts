/**
 * `ctx.addToChord`: a part of a chord sends one more. It is counted before it is sent, and before the part that adds it has ended, so
 * the chord cannot be complete without it. Source: Celery's `Task.add_to_chord`, wire section 6.6.
 */
import { hostname } from 'node:os';
import type { AppConfig } from '../../app/config.js';
import { throughPublishHooks } from '../../app/workflows/canvas-hooks.js';
import type { Embed } from '../../canvas/after.js';
import { attach, finalIdOf, freeze } from '../../canvas/freeze.js';
import { idsFrom } from '../../canvas/ids.js';
import { outgoingOf } from '../../canvas/outgoing.js';
import { emptyPlan, start } from '../../canvas/plan.js';
import { type CanvasFacts, canvasSettings } from '../../canvas/routes.js';
import { TaskError } from '../../core/errors.js';
import { encodeJson } from '../../wire/serializers/json.js';
import { parseSignature, type WireSignature } from '../../wire/signature.js';
import type { TaskHeaders } from '../../wire/task-message.js';
import type { PortGateway } from './port-gateway.js';

const ORIGIN = `gen${process.pid}@${hostname()}`;

export interface AddedPart {
  readonly signature: WireSignature;
  readonly headers: TaskHeaders;
  readonly embed: Embed | null;
  /** How many this run has added before. */
  readonly nth: number;
  /** An earlier run may have added the same. */
  readonly isRepeated: boolean;
}

export interface AddOptions {
  readonly gateway: PortGateway;
  readonly facts: () => CanvasFacts;
  readonly config: Pick<AppConfig, 'sendTimeoutMs' | 'middleware'>;
}

/**
 * Resolves with the id of the part.
 * @throws TaskError `E_NO_CHORD`; BrokerError `E_NOT_SUPPORTED`; PublishError
 */
export async function addPart(part: AddedPart, { gateway, facts, config }: AddOptions): Promise<string> {
  const { signature, headers, embed, nth, isRepeated } = part;
  const { id, groupId } = headers;
  if (embed?.chord == null || groupId === null)
    throw new TaskError('E_NO_CHORD', 'addToChord() was called in a task that is no part of a chord');
  // the same in each try, so that a part that is repeated adds none twice
  const ids = idsFrom(id, `added ${nth}`);
  const context = { newId: ids, replyTo: null };
  const chord = parseSignature(embed.chord, 'embed.chord');
  const frozen = attach(freeze(signature, context), { group_id: groupId, chord }, context);
  const partId = finalIdOf(frozen);
  const send = async (whole: WireSignature): Promise<void> => {
    const plan = emptyPlan();
    start(whole, { args: [], rest: null }, context, plan);
    const parent = { id, rootId: headers.rootId ?? id };
    const settings = { ...canvasSettings(facts()), nowMs: Date.now(), origin: ORIGIN, parent, isRepeated };
    const messages = plan.tasks.map((task) => {
      const { id: _id, task: _task, ...message } = outgoingOf(task, settings);
      return message;
    });
    const chords = plan.chords.map(({ body, ...each }) => ({ ...each, body: encodeJson(body) }));
    await gateway.addPart(groupId, partId, chords);
    const refused = (await gateway.publish(messages, { timeoutMs: config.sendTimeoutMs })).find((result) => result !== null);
    if (refused) throw refused;
  };
  const hooks = config.middleware.publish;
  await (hooks.length === 0 ? send(frozen) : throughPublishHooks(hooks, frozen, facts(), send));
  return partId;
}
