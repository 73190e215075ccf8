/** Waiting for what may never come: a dead connection answers nothing, and the client does not say so in every case. */

/** How long a polite goodbye may take. A worker that stops while its broker is away says several of them, within two seconds. */
export const GOODBYE_MS = 600;

/** The work's value, or nothing when the time is over first; its errors count as nothing. */
export async function within<T>(work: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), Math.max(timeoutMs, 0))));
  const value = await Promise.race([work.catch(() => undefined), late]);
  clearTimeout(timer);
  return value;
}

/**
 * Closes a channel if there is one. The client's own promise never settles when the connection dies while it waits, nor while the
 * broker does not read because of an alarm.
 */
export async function closeChannel(channel: { close(): Promise<void> } | undefined): Promise<void> {
  if (channel)
    await within(
      Promise.resolve().then(() => channel.close()),
      GOODBYE_MS,
    );
}
