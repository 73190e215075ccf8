/** Sends the first messages of a canvas: encoded by `canvas/`, they pass the outbox like all others. Next stop: `outbox.ts`. */
import type { CanvasMessage } from '../../canvas/outgoing.js';
import type { ResolvedDedupe } from '../dedupe.js';
import { MAX_BATCH, type Outbox, type Outgoing, type OutgoingCall, type Sink } from '../outbox.js';
import { activeRun } from '../task-context.js';

/** Its reply queue is in the message already. */
const plannedCall = (task: string): OutgoingCall => ({
  task,
  ignoreResult: true,
  options: { dedupe: null as ResolvedDedupe | null },
  handle: () => null as never,
});

/**
 * They belong together, so the first failure is that of all, though others may have been sent.
 * @throws PublishError
 */
export async function sendPlanned(
  outbox: Outbox,
  messages: readonly CanvasMessage[],
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const run = activeRun.getStore();
  let failure: Error | null = null;
  const sink: Sink = { sent: () => {}, failed: (error) => void (failure ??= error) };
  const sends = messages.map(
    ({ id, task, ...message }, index): Outgoing => ({ id, call: plannedCall(task), message, run, sink, index }),
  );
  const batches: Promise<void>[] = [];
  for (let at = 0; at < sends.length; at += MAX_BATCH)
    batches.push(outbox.publish({ timeoutMs, signal, sends: sends.slice(at, at + MAX_BATCH), bounded: false }));
  await Promise.all(batches);
  if (failure !== null) throw failure;
}
