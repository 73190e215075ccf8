/**
 * What is derived from an entry and a slot, the same by every scheduler: the id of the task and the delay of the jitter. So two
 * schedulers that both believe to lead send one task under one id, at one time. Pure.
 */
import { createHash } from 'node:crypto';
import { idsFrom } from '../../canvas/ids.js';
import type { Schedule } from './types.js';

/** A number from 0 up to, but not, 1, made of a text. */
export type TextFraction = (text: string) => number;

const hashFraction: TextFraction = (text) => createHash('sha256').update(text).digest().readUIntBE(0, 6) / 2 ** 48;

/**
 * The id of the task that a slot sends: a UUID made of both.
 * @param slotMs the slot as `nextSlot` gives it, without jitter
 */
export function slotTaskId(entryId: string, slotMs: number): string {
  return idsFrom(entryId, `slot ${slotMs}`)();
}

/**
 * When the run of a slot is due, in epoch milliseconds: the slot itself, or up to the entry's jitter later.
 * @param hash @defaultValue the first 48 bits of SHA-256
 */
export function dueMs(schedule: Schedule, entryId: string, slotMs: number, hash: TextFraction = hashFraction): number {
  if (schedule.jitterMs === 0) return slotMs;
  return slotMs + Math.floor(hash(`${entryId}\n${slotMs}`) * schedule.jitterMs);
}
