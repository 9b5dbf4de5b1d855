import { LOST, SURVIVOR } from '../failover/world.ts';
import { sites } from '../relocate/judge.ts';
import { AT_HOME, type Scene, type Served } from './scene.ts';

/** Both control rooms at once. */

/** Each moves its own half to the other, at the same moment: one goes first, whoever that is, and nobody is served twice. */
async function opposite(scene: Scene): Promise<void> {
  const moves = sites.map((from) => {
    const to = from === LOST ? SURVIVOR : LOST;
    return scene.move({ site: from, workflow: 'relocate', half: from, from, to });
  });
  const ended = await Promise.all(moves);
  const went = ended.map(({ outcome }) => outcome === 'closed');
  if (!went.includes(true)) throw new Error(`ended ${ended.map(({ outcome }) => outcome).join(' and ')}`);
  const [ofLost, ofSurvivor] = went;
  const served: Served = { [LOST]: ofLost ? SURVIVOR : LOST, [SURVIVOR]: ofSurvivor ? LOST : SURVIVOR };
  await scene.settled(served);
  scene.neverTwice();
  for (const [half, from] of Object.entries(served)) {
    if (from === half) continue;
    const { outcome } = await scene.move({ site: from, workflow: 'relocate', half, from, to: half });
    if (outcome !== 'closed') throw new Error(`the way home of ${half} ended ${outcome}`);
  }
  await scene.settled(AT_HOME);
  scene.neverTwice();
  await scene.nothingLost();
}

export const bothPoints: Record<string, (scene: Scene) => Promise<void>> = {
  'both-rooms/planned': opposite,
};
