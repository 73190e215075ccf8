/** A drill that cannot fail proves nothing: these are given wrong ledgers and wrong claims, and must be red. */
import { appendFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Drill, type DrillResult, runDrill } from '../../drills/harness/runner.js';
import { type Kit, Scene } from '../../drills/harness/scene.js';

function play(run: (kit: Kit) => Promise<void>): Promise<DrillResult> {
  const drill: Drill = { name: 'self-check', scenario: 'made wrong on purpose', brokers: ['file'], run };
  return runDrill(drill, { broker: 'file', size: 'quick', seed: 'self-check', say: () => {}, keepRed: false });
}

/** Ten tasks on a real worker, and somebody who meddles with the ledger. */
async function tenTasks(kit: Kit, meddle: (scene: Scene, ids: readonly string[]) => void): Promise<void> {
  const scene = new Scene(kit, 'self-check', '3s');
  try {
    await scene.fleet({ count: 1 });
    const ids = await scene.sender.sendMany(
      'drill.append',
      Array.from({ length: 10 }, () => ({ args: [5] })),
    );
    await scene.settled(20_000);
    meddle(scene, ids);
    scene.claimNothingLost('ten tasks', await scene.settled(1_000));
  } finally {
    await scene.close();
  }
}

const broken = ({ claims }: DrillResult): (string | number | boolean | null)[][] =>
  claims.filter(({ holds }) => !holds).map(({ sentence, measured }) => [sentence, measured]);

test('an honest drill is green', async () => {
  const result = await play((kit) => tenTasks(kit, () => {}));
  expect([result.error, broken(result), result.ok]).toEqual([null, [], true]);
  expect(result.claims).toHaveLength(4);
}, 60_000);

test('a task that was sent and never ran makes it red', async () => {
  const result = await play((kit) => tenTasks(kit, (scene) => scene.ledger.sent(['never-ran'])));
  expect(result.ok).toBe(false);
  expect(broken(result)).toContainEqual(['ten tasks: tasks lost', 1]);
}, 60_000);

test('a task that ran twice without a fault makes it red', async () => {
  const result = await play((kit) =>
    tenTasks(kit, (scene, [id]) =>
      appendFileSync(scene.ledger.file, `start ${id} 1 w9.1 ${Date.now()}\nend ${id} 1 w9.1 ${Date.now()}\n`),
    ),
  );
  expect(result.ok).toBe(false);
  expect(broken(result)).toEqual([['ten tasks: repeated runs that no fault explains', 1]]);
}, 60_000);

test('a task that ran without having been sent makes it red', async () => {
  const result = await play((kit) =>
    tenTasks(kit, (scene) => appendFileSync(scene.ledger.file, `start stranger 1 w1.1 1\nend stranger 1 w1.1 2\n`)),
  );
  expect(result.ok).toBe(false);
  expect(broken(result)).toEqual([['ten tasks: tasks that ran without having been sent', 1]]);
}, 60_000);

test.each([
  ['that claims nothing', async () => {}],
  ['that measured nothing', async (kit: Kit) => kit.claim('a time', null, { atMost: 5 }, 'ms')],
  [
    'that throws after claims that hold',
    async (kit: Kit) => {
      kit.claim('one', 1, { equals: 1 });
      throw new Error('the drill fell over');
    },
  ],
])('a drill %s is red', async (_, run) => {
  expect((await play(run)).ok).toBe(false);
});
