import type { Moment, Scene } from '../failover/accidents.ts';

/** What is lost while a planned move does something in its destination's database: there, or the worker that does it. */
export const losses = ['worker', 'destination-worker', 'destination-postgres'] as const;
export type Loss = (typeof losses)[number];

/**
 * Lets it happen to a move that is held at the destination's gate, and mends both sites. `after`: the worker that moves them is frozen
 * before the gate is let go, so that it stands there and nobody here has been told. What a worker has asked for that is killed
 * `before` lands after its death.
 */
export async function lose(scene: Scene & { destination: string }, loss: Loss, moment: Moment): Promise<void> {
  const { world, gate, operators, site, destination, sites = [] } = scene;
  if (moment === 'after') {
    await world.signal(site, 'worker', 'SIGSTOP');
    await gate.letCommit();
  }
  await operators.noteKept();
  await world.kill(loss === 'worker' ? site : destination, loss === 'destination-postgres' ? 'postgres' : 'worker');
  if (moment === 'after' && loss !== 'worker') await world.signal(site, 'worker', 'SIGCONT');
  if (loss !== 'destination-postgres') {
    if (moment === 'before') await gate.letGo();
    return world.mend(sites);
  }
  await world.mend(sites);
  await gate.reopen();
}
