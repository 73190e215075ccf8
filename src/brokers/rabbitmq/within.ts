/** The work's value, or nothing when the time is over first; its errors count as nothing. */
export async function within<T>(work: Promise<T>, timeoutMs: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), Math.max(timeoutMs, 0))));
  const value = await Promise.race([work.catch(() => undefined), late]);
  clearTimeout(timer);
  return value;
}
