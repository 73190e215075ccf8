/** A result as a store takes it, made of a task's headers and what became of it. Pure. Next stop: `results/result-store.ts`. */
import type { ResultWrite } from '../../results/result-store.js';
import { encodeResultMeta, type ResultChild } from '../../wire/result-meta.js';
import type { TaskHeaders } from '../../wire/task-message.js';

export interface Outcoming {
  readonly state: string;
  readonly resultJson: string;
  readonly traceback: string | null;
  /** What it sent. */
  readonly children: readonly ResultChild[];
  readonly epoch: number;
  readonly ttlMs: number | null;
}

export function resultWrite(headers: TaskHeaders, outcoming: Outcoming, nowMs: number): ResultWrite {
  const { state, resultJson, traceback, children, epoch, ttlMs } = outcoming;
  const final = state === 'SUCCESS' || state === 'FAILURE' || state === 'REVOKED';
  const meta = encodeResultMeta({
    status: state,
    resultJson,
    traceback,
    children,
    dateDone: final ? nowMs : null,
    taskId: headers.id,
    groupId: headers.groupId,
    parentId: headers.parentId,
  });
  return { id: headers.id, state, meta, epoch, ttlMs, replyTo: headers.replyTo, correlationId: headers.correlationId };
}
