/**
 * A scheduler of an app: opens broker, results and the store of schedules, puts the entries of the code there, and runs the loop until it
 * is asked to stop. `lovage beat` and `lovage worker --beat` run this; the loop is `scheduler.ts`.
 */
import { hostname } from 'node:os';
import type { App } from '../app/app.js';
import type { AppConfig } from '../app/config.js';
import { canvasFactsOf } from '../app/workflows/canvas-facts.js';
import { openBroker } from '../brokers/from-url.js';
import { reconnectDelayMs } from '../core/backoff.js';
import { type Clock, sleep, systemClock } from '../core/clock.js';
import { codeOf, toError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { openResultStore } from '../results/from-url.js';
import { beatStoreUrl, openBeatStore } from './from-url.js';
import { reconcile } from './reconcile.js';
import { Scheduler, type SchedulerOptions } from './scheduler.js';

export interface BeatOptions extends Pick<SchedulerOptions, 'leaseMs' | 'beatMs' | 'random'> {
  readonly app: App;
  /** As the app's own, or with other URLs. */
  readonly config: AppConfig;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Shown to people as who leads. */
  readonly name?: string;
  /** `null`: for ever, with backoff. */
  readonly connectTries?: number | null;
  readonly signal?: AbortSignal;
}

export interface RunningBeat {
  /** Whether it leads, as far as it knows. */
  readonly isLeading: boolean;
  /** Decides nothing more, gives the lead back, and closes its connections. */
  close(): Promise<void>;
}

const CONNECT_MS = 5_000;
const WORTH_TRYING = new Set<string | undefined>(['E_BROKER_UNREACHABLE', 'E_CONNECTION_LOST']);

/** Tries until it can be reached. @throws what time does not mend, or the last try */
async function patiently<T>(step: () => Promise<T>, { logger, connectTries = null, signal }: BeatOptions): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await step();
    } catch (error) {
      if (!WORTH_TRYING.has(codeOf(error)) || signal?.aborted || (connectTries !== null && tries >= connectTries)) throw error;
      logger.warn({ tries, cause: toError(error).message }, 'beat: the store of schedules cannot be reached; trying again');
      await sleep(reconnectDelayMs(tries, Math.random()), signal);
    }
  }
}

/** Resolves once it has begun: it leads, or stands by. @throws ConfigError; BrokerError after the last try, `E_BROKER_AUTH` at once */
export async function startBeat(options: BeatOptions): Promise<RunningBeat> {
  const { app, config, logger, clock = systemClock, name = `beat-${process.pid}@${hostname()}` } = options;
  const { brokerUrl, resultUrl, queues, resultTtlMs } = config;
  const url = beatStoreUrl(config);
  const opened: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    for (const one of opened.toReversed()) await one.close();
  };
  try {
    const broker = await openBroker({ url: brokerUrl, queues, logger, role: 'client' });
    opened.push(broker);
    const results = await openResultStore({ url: resultUrl, logger, role: 'client' });
    opened.push(results);
    const store = await openBeatStore({ url, app: config.name, logger, brokerUrl, queues });
    opened.push(store);
    const { found, ...counts } = await patiently(async () => {
      await store.connect({ timeoutMs: CONNECT_MS });
      const ends = store.codeOnly ?? results.capabilities.readableByAnyone;
      const facts = { entries: app.schedules.all(), results: ends, nowMs: clock.nowMs() };
      return reconcile({ store, logger, ...facts });
    }, options);
    logger.info(
      { ...counts, inCode: app.schedules.all().length, store: store.name },
      'beat: entries of the code are in the store',
    );
    let hasLed = false;
    const scheduler = new Scheduler({
      ...{ store, broker, results, resultTtlMs, clock, logger, owner: `${name}#${Math.random().toString(36).slice(2, 8)}` },
      // Where only who leads can read what was decided, what was found before says nothing.
      ...(store.codeOnly === undefined && { found }),
      ...(options.leaseMs !== undefined && { leaseMs: options.leaseMs }),
      ...(options.beatMs !== undefined && { beatMs: options.beatMs }),
      ...(options.random !== undefined && { random: options.random }),
      facts: () => canvasFactsOf(config, app.registry),
      onLead: (epoch) => {
        if (epoch === null) return logger.warn({}, 'beat: the lead was lost; standing by');
        logger.info({ epoch }, hasLed ? 'beat: leads again' : 'beat: leads');
        hasLed = true;
      },
      onStandby: (owner) => logger.info({ leader: owner }, 'beat: stands by; another scheduler leads'),
    });
    opened.push(scheduler);
    await scheduler.start();
    return {
      get isLeading() {
        return scheduler.isLeading;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
