/** The control client of a command: connections of its own, for as long as it runs. */
import { ClientGateway } from '../../app/client-gateway.js';
import type { Control } from '../../app/control/control-types.js';
import { createControl } from '../../control/client.js';
import type { Connection } from '../options.js';

/** How long the connection may take at least: the timeout of these commands is that of the answers. */
const LEAST_CONNECT_MS = 5_000;

/** Runs `use` with a control client on connections of its own, and closes them whatever happens. */
export async function withControl<T>(
  { config, logger, timeoutMs }: Connection,
  use: (control: Control) => Promise<T>,
): Promise<T> {
  const gateway = new ClientGateway(config);
  try {
    const broker = await gateway.broker();
    await broker.connect({ timeoutMs: Math.max(timeoutMs, LEAST_CONNECT_MS) });
    return await use(
      createControl({
        ...{ gateway: () => gateway, broker: async () => broker, logger, json: config.json },
        ...{ resultTtlMs: config.resultTtlMs, nowMs: () => Date.now() },
      }),
    );
  } finally {
    await gateway.close();
  }
}
