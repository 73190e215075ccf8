/** Priority 0 to 9, higher = sooner, as the database sorts it: rank 9 to 0, lower = sooner. */

/** The rank of a priority; unset is 0, the last. */
export function rankOf(priority: number | undefined): number {
  if (priority === undefined || !(priority > 0)) return 9;
  return priority >= 9 ? 0 : 9 - Math.floor(priority);
}
