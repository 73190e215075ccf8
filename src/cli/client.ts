/**
 * A client for commands: sends tasks by their names with positions and keywords together, which typed tasks have no
 * need for. Made of the app's own parts, so that routes, limits and encoding are those of the app.
 */
import { type CallOptions, resolveCallOptions } from '../app/call-options.js';
import { ClientGateway } from '../app/client-gateway.js';
import { type PreparedCall, Publisher } from '../app/publish.js';
import { checkTaskName } from '../app/registry.js';
import { ResultHandle, type TaskHandle } from '../app/task-handle.js';
import { destinationOf } from '../canvas/routes.js';
import { systemClock } from '../core/clock.js';
import type { Connection } from './options.js';

/** A task to send by its name. */
export interface NamedCall {
  readonly task: string;
  readonly args: readonly unknown[];
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly options: CallOptions;
}

export interface CommandClient {
  /** Checks the name and options. @throws ConfigError `E_CONFIG_*` */
  prepare(call: NamedCall): PreparedCall;
  /** Sends what was prepared; resolves once the broker has confirmed. @throws ArgumentError, PublishError */
  send(prepared: PreparedCall, call: NamedCall): Promise<TaskHandle<unknown>>;
  handle(id: string): TaskHandle<unknown>;
  close(): Promise<void>;
}

/**
 * What the client is for. To send, the broker is connected first, so that what is wrong with it is said at once and by its
 * own error. Without waiting, an `rpc:` store is not opened, because nobody will listen.
 */
export type ClientPurpose = 'send' | 'send-and-wait' | 'read';

async function openGateway({ config, logger, timeoutMs }: Connection, purpose: ClientPurpose): Promise<ClientGateway> {
  const gateway = new ClientGateway({ brokerUrl: config.brokerUrl, resultUrl: config.resultUrl, queues: config.queues, logger });
  if (purpose === 'read') return gateway;
  try {
    await (await gateway.broker()).connect({ timeoutMs });
  } catch (error) {
    await gateway.close();
    throw error;
  }
  return gateway;
}

/** @throws BrokerError `E_BROKER_UNREACHABLE`, `E_BROKER_AUTH` */
export async function openClient(connection: Connection, purpose: ClientPurpose): Promise<CommandClient> {
  const { app, config, timeoutMs } = connection;
  const gateway = await openGateway(connection, purpose);
  const publisher = new Publisher(config, () => gateway, systemClock);
  const owner = { gateway: () => gateway, resultTtlMs: config.resultTtlMs, nowMs: () => Date.now() };
  const handle = (id: string, deduplicated = false): TaskHandle<unknown> => new ResultHandle(id, true, owner, deduplicated);
  const answersOnlyUs = /^rpc:/i.test(config.resultUrl);
  return {
    prepare({ task, options: given }) {
      checkTaskName(task);
      const options = resolveCallOptions(given, `task ${task}`);
      const route = config.router.find(task);
      const ofTask = app?.registry.get(task)?.options.queue ?? null;
      return {
        task,
        to: destinationOf(options.queue ?? ofTask, route, config.defaultQueue),
        priority: options.priority ?? route?.priority,
        // An id that was given may be a repetition: the worker then asks the store before it runs the task.
        headers: options.id === null ? options.headers : { ...options.headers, lovage_resent: true },
        ignoreResult: options.ignoreResult ?? (purpose === 'send' && answersOnlyUs),
        // By its name alone nobody can tell in which language its worker is written.
        anyWorker: true,
        timeoutMs: options.timeoutMs ?? timeoutMs,
        keywordsName: 'kwargs',
        options,
        handle,
      };
    },
    send: (prepared, { args, kwargs }) => publisher.send(prepared, args, kwargs),
    handle,
    close: () => gateway.close(),
  };
}
