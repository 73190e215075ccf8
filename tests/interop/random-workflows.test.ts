/**
 * Random workflows of which a third of the tasks are Python's, while workers of both languages are killed with -9. Python's tasks are
 * acknowledged before they run, so what its dead worker had begun falls silent; every workflow stands in a chord, whose deadline ends it.
 * The model and the ways to make longer runs are in ../canvas/random-faults.ts; those take every version of Celery everywhere.
 */
import { describe, expect, test } from 'vitest';
import { play, startFaultyWorkers } from '../canvas/random-faults.js';
import { hasCelery, startPythonWorker } from '../support/celery.js';
import { type FleetName, openFleet } from './fleet.js';

const VERSIONS = (['5.2', '5.6'] as const).filter((version) => hasCelery(version) || process.env.CI);
/** With which Python's worker lives or is killed, in everyday runs. */
const EVERYDAY = {
  redis: { lives: '5.2', killed: '5.6' },
  'rabbitmq with redis results': { lives: '5.6', killed: '5.2' },
} as const;

describe.each(['redis', 'rabbitmq with redis results'] as const satisfies readonly FleetName[])('%s', (name) => {
  const isLong = process.env.LOVAGE_RANDOM_WORKFLOWS !== undefined;
  const versionsFor = (python: 'lives' | 'killed') => VERSIONS.filter((version) => isLong || version === EVERYDAY[name][python]);

  test.each(versionsFor('lives'))(
    'random workflows in both languages end as their model says while our workers are killed, with Celery %s',
    { timeout: 900_000 },
    async (version) => {
      const fleet = await openFleet(name);
      const theirs = await startPythonWorker(version, fleet.broker, fleet.results);
      const urls = { brokerUrl: fleet.broker, resultUrl: fleet.results };
      const ours = await startFaultyWorkers(urls);
      try {
        await play({ ...urls, python: 'lives', kill: () => ours.kill() });
      } finally {
        await ours.stop();
        await theirs.stop();
        await fleet.close();
      }
    },
  );

  test.each(versionsFor('killed'))(
    'random workflows in both languages end by their deadline when workers of both are killed, with Celery %s',
    { timeout: 900_000 },
    async (version) => {
      const fleet = await openFleet(name);
      let theirs = await startPythonWorker(version, fleet.broker, fleet.results);
      const urls = { brokerUrl: fleet.broker, resultUrl: fleet.results };
      const ours = await startFaultyWorkers(urls);
      const kill = async (): Promise<void> => {
        process.kill(theirs.pid, 'SIGKILL');
        await theirs.stop();
        await ours.kill();
        theirs = await startPythonWorker(version, fleet.broker, fleet.results);
      };
      try {
        await play({ ...urls, python: 'killed', kill });
      } finally {
        await ours.stop();
        await theirs.stop();
        await fleet.close();
      }
      expect(theirs.log()).toContain('py.total');
    },
  );
});
