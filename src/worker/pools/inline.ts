/**
 * Pool `inline`: engine and executor on one loop. Nothing crosses a thread, so it is the fastest; and a task that keeps
 * the loop keeps the engine too: leases lapse. For the memory broker, tests, and tasks that never block.
 */
import { Engine } from '../engine/engine.js';
import { Executor } from '../executor/executor.js';
import { loadSource } from '../executor/load-source.js';
import type { PoolSetup, RunningPool } from './pool.js';
import { inlinePair } from './port-ends.js';

export async function startInlinePool(setup: PoolSetup): Promise<RunningPool> {
  const { options, logger } = setup;
  const app = await loadSource(setup.source);
  const pair = inlinePair();
  const engine = new Engine(options.engine, [pair.engine], logger);
  const executor = new Executor(app, pair.executor, logger);
  const started = engine.start();
  try {
    await Promise.all([started, executor.start()]);
  } catch (error) {
    await engine.stop(0);
    throw error;
  }
  if (!options.engine.brokerUrl?.startsWith('memory:') && !app.config.brokerUrl.startsWith('memory:')) {
    logger.warn(
      {},
      'pool inline: a task that blocks its loop also blocks leases and heartbeats; use threads or async where tasks may block',
    );
  }
  return {
    stop(graceMs, crash) {
      if (crash !== undefined) engine.executorDied(0, crash);
      return engine.stop(graceMs);
    },
    stats: async () => engine.stats(),
    report: async () => engine.report(),
    askedToStop: engine.askedToStop,
  };
}
