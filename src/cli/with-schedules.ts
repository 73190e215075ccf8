/** The store of schedules that a command's flags lead to, and the signature of a task that is given by its name. */
import type { BeatStore } from '../beat/beat-store.js';
import { beatStoreUrl, openBeatStore } from '../beat/from-url.js';
import { reconcile } from '../beat/reconcile.js';
import { destinationOf } from '../canvas/routes.js';
import { ConfigError } from '../core/errors.js';
import { makeSignature, type WireSignature } from '../wire/signature.js';
import { type Connection, type ConnectionFlags, resolveConnection } from './options.js';

/**
 * Opens the store of schedules that the flags lead to, runs `use`, and closes it whatever happens.
 * @param isPreview asks for definitions alone: where no entries are kept, those of the app file will do
 * @throws ConfigError `E_CONFIG_CONFLICT` when that keeps no entries for people
 */
export async function withSchedules<T>(
  flags: ConnectionFlags,
  use: (store: BeatStore, connection: Connection) => Promise<T>,
  isPreview = false,
): Promise<T> {
  const connection = await resolveConnection(flags, { app: true });
  const { app, config, logger, timeoutMs } = connection;
  const store = await openBeatStore({ url: beatStoreUrl(config), app: config.name, logger, brokerUrl: config.brokerUrl });
  try {
    const { codeOnly } = store;
    if (codeOnly === undefined) await store.connect({ timeoutMs });
    else if (isPreview && app !== null)
      await reconcile({ store, entries: app.schedules.all(), results: codeOnly, nowMs: Date.now(), logger });
    else throw new ConfigError('E_CONFIG_CONFLICT', codeOnly);
    return await use(store, connection);
  } finally {
    await store.close();
  }
}

/** By its name alone: where it goes is decided here, where the app's routes are known. */
export function signatureOf(
  { app, config }: Connection,
  task: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): WireSignature {
  const to = destinationOf(app?.registry.get(task)?.options.queue ?? null, config.router.find(task), config.defaultQueue);
  const options =
    to.exchange === undefined ? { queue: to.queue } : { exchange: to.exchange, routing_key: to.routingKey ?? to.queue };
  return makeSignature(task, { args, kwargs, options, immutable: true });
}
