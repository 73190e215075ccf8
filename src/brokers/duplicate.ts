/** How every driver tells that a message was left out for its dedupe key. */
import { DuplicateSendError } from '../core/errors.js';
import type { OutgoingMessage } from './broker.js';

/** The id that a dedupe key is taken for; messages without one have an empty id, which nobody waits for. */
export function idOf({ message }: OutgoingMessage): string {
  const { id } = message.headers;
  return typeof id === 'string' ? id : '';
}

/** @param existingId the id of the message that has the key */
export function duplicateOf(outgoing: OutgoingMessage, existingId: string): DuplicateSendError {
  return new DuplicateSendError(`not sent, because task ${existingId} was sent with the same dedupe key before`, {
    existingId,
    taskId: idOf(outgoing),
  });
}
