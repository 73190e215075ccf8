/** The store of schedules that a command's flags lead to. */
import type { BeatStore } from '../beat/beat-store.js';
import { beatStoreUrl, openBeatStore } from '../beat/from-url.js';
import { type Connection, type ConnectionFlags, resolveConnection } from './options.js';

/** Opens the store of schedules that the flags lead to, runs `use`, and closes it whatever happens. */
export async function withSchedules<T>(
  flags: ConnectionFlags,
  use: (store: BeatStore, connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await resolveConnection(flags, { app: true });
  const { config, logger, timeoutMs } = connection;
  const store = await openBeatStore({ url: beatStoreUrl(config), app: config.name, logger, brokerUrl: config.brokerUrl });
  try {
    await store.connect({ timeoutMs });
    return await use(store, connection);
  } finally {
    await store.close();
  }
}
