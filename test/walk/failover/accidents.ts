import type { Gate } from './gate.ts';
import type { Operators } from './operators.ts';
import type { World } from './world.ts';

/** What is lost while a line of the journal is being written, or right after it was. */
export const accidents = ['worker', 'temporal', 'databases'] as const;
/** `databases`: those of Temporal, for good. `postgres`: the whole server, which comes back with what it had. */
export type Accident = (typeof accidents)[number] | 'postgres';

export const moments = ['before', 'after'] as const;
/** Whether the line is lost with it, or stands and nobody has been told. */
export type Moment = (typeof moments)[number];

export interface Scene {
  world: World;
  gate: Gate;
  operators: Operators;
  /** Where the move runs. */
  site: string;
  /** What is mended after it; the site of the move alone when it is left out. */
  sites?: string[];
  /** Before the move goes on; where its database was lost, as soon as that is back. */
  ahead?: (() => Promise<void>) | undefined;
}

/**
 * Lets the accident happen to a move that is held at the gate, and mends the service. `after`: Temporal is frozen before
 * the line is let go, so that it is committed and its writer's answer arrives nowhere.
 */
export async function happen(scene: Scene, accident: Accident, moment: Moment): Promise<void> {
  const { world, gate, operators, site, sites = [site] } = scene;
  if (moment === 'after') {
    await world.signal(site, 'temporal', 'SIGSTOP');
    await gate.letCommit();
  }
  await operators.noteKept();
  if (accident === 'postgres') {
    await world.kill(site, 'postgres');
    if (moment === 'after') await world.signal(site, 'temporal', 'SIGCONT');
    await world.mend(sites);
    await gate.reopen();
    return scene.ahead?.();
  }
  if (accident !== 'temporal') await world.kill(site, 'worker');
  if (accident !== 'worker') await world.kill(site, 'temporal');
  if (moment === 'before') await gate.letGo();
  if (accident === 'worker' && moment === 'after') await world.signal(site, 'temporal', 'SIGCONT');
  if (accident === 'databases') await world.dropTemporal(site);
  await scene.ahead?.();
  await world.mend(sites);
}
