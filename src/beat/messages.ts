/**
 * The messages of a run: the signature of its entry under ids that entry and slot decide, so that every scheduler sends the same. Pure.
 * Next stop: `canvas/outgoing.ts`.
 */
import { ORIGIN } from '../app/publish.js';
import { carriedOptions, overFirst } from '../app/workflows/signature-options.js';
import type { OutgoingMessage } from '../brokers/broker.js';
import { freeze, unkeptIn } from '../canvas/freeze.js';
import { idsFrom } from '../canvas/ids.js';
import { resultTreeOf } from '../canvas/lineage.js';
import { outgoingOf } from '../canvas/outgoing.js';
import { emptyPlan, start } from '../canvas/plan.js';
import { type CanvasFacts, canvasSettings } from '../canvas/routes.js';
import { type OpenChord, opening } from '../results/chords.js';
import { encodeJson } from '../wire/serializers/json.js';
import type { Definition } from './definition.js';

export interface RunPlan {
  /** Of the task whose end is that of the run. */
  readonly taskId: string;
  readonly messages: readonly OutgoingMessage[];
  /** To be opened before anything is sent. */
  readonly chords: readonly OpenChord[];
  /** Its end will be known: by one task, whose result is kept. */
  readonly isTold: boolean;
}

export interface RunSettings {
  readonly facts: CanvasFacts;
  readonly resultTtlMs: number | null;
  readonly nowMs: number;
  /** It may have been sent before: a worker that finds its result final drops it. */
  readonly isRepeated: boolean;
}

/** What a run is of: a slot, or somebody's wish. */
export type Occasion = { readonly slotMs: number } | { readonly request: string };

const idsOf = (entryId: string, occasion: Occasion): (() => string) =>
  idsFrom(entryId, 'slotMs' in occasion ? `slot ${occasion.slotMs}` : `run ${occasion.request}`);

/** The task id of a run that somebody wants, as long as the entry is one task. */
export const requestedTaskId = (entryId: string, request: string): string => idsOf(entryId, { request })();

/** @throws WireError `E_DECODE`; ArgumentError `E_NOT_SERIALISABLE`, `E_MESSAGE_TOO_LARGE`; ConfigError `E_CONFIG_*` */
export function planRun(
  entryId: string,
  { resolved, signature }: Definition,
  occasion: Occasion,
  settings: RunSettings,
): RunPlan {
  const { facts, resultTtlMs, nowMs, isRepeated } = settings;
  const { queue, priority, headers, expiresMs } = resolved;
  const fromMs = 'slotMs' in occasion ? occasion.slotMs : nowMs;
  const options = carriedOptions(
    {
      ...(queue !== null && { queue }),
      ...(priority !== undefined && { priority }),
      ...(headers !== null && { headers }),
      // a slot that is caught up must have the time to start
      ...(expiresMs !== null && { expires: new Date(Math.max(fromMs, nowMs) + expiresMs) }),
    },
    `schedule ${entryId}`,
    facts.lowerIsSooner,
  );
  const context = { newId: idsOf(entryId, occasion), replyTo: null };
  const frozen = freeze(overFirst(signature, options), context);
  const plan = emptyPlan();
  start(frozen, { args: [], rest: null }, context, plan);
  const outgoing = { ...canvasSettings(facts), nowMs, origin: ORIGIN, parent: null, isRepeated };
  const tree = resultTreeOf(frozen);
  return {
    taskId: tree.id,
    messages: plan.tasks.map((task) => {
      const { id: _, task: __, ...message } = outgoingOf(task, outgoing);
      return message;
    }),
    chords: plan.chords.map(({ body, ...chord }) => opening({ ...chord, body: encodeJson(body) }, resultTtlMs, nowMs)),
    isTold: tree.members === null && unkeptIn(frozen).length === 0,
  };
}
