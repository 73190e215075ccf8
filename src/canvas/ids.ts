/**
 * Ids of what a task sends by itself, made of its own id: the same each time. A worker that dies between sending and acknowledging
 * leaves the task to another, which then sends the same ids again, and not twice as many tasks. Pure.
 */
import { createHash } from 'node:crypto';

/** UUIDs in the order in which they are asked for. @param purpose keeps the ids of several plans of one task apart */
export function idsFrom(taskId: string, purpose: string): () => string {
  let nth = 0;
  return () => {
    const hash = createHash('sha256').update(`${taskId}\n${purpose}\n${nth++}`).digest();
    // version 8: made as its maker likes
    hash[6] = ((hash[6] as number) & 0x0f) | 0x80;
    hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
    const hex = hash.toString('hex', 0, 16);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  };
}
