/**
 * The headers by which our senders, workers and tools tell each other something. They begin with `lovage_`: no task sees
 * them, Celery nodes carry them along. What each means: `docs/decisions/epochs-and-claims.md`.
 */

/** Set by `with({ id })` and by a replay: this id may have been sent before, so the store is asked before the task runs. */
export const RESENT_HEADER = 'lovage_resent';
/** When a worker first met this message without knowing its task; wall milliseconds. */
export const UNKNOWN_SINCE_HEADER = 'lovage_unknown_since';
/** The epoch under which a claimed task goes on: its next try writes results in the same name, or they would be refused. */
export const EPOCH_HEADER = 'lovage_epoch';
/** How many executors died under this message, where the broker cannot count that. */
export const LOSSES_HEADER = 'lovage_losses';
/** One of several that may have kept their executor from answering past a hard limit: it runs alone, which tells. */
export const SUSPECT_HEADER = 'lovage_suspect';
/** On the body of a chord with `settle: 'all'`: it takes outcomes, and `bare` results are to be wrapped (`canvas/outcomes.ts`). */
export const OUTCOMES_HEADER = 'lovage_outcomes';
