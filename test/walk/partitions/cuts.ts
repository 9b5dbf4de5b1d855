import type { World } from '../failover/world.ts';
import type { Manner } from '../../rig/line.ts';
import { PEER, type Reached } from './lines.ts';

/** What is lost to whom: lines of one site or both, or a process that stands still. `here` is the site where a move runs. */
interface Loss {
  lines?: { here?: readonly Reached[]; there?: readonly Reached[] };
  frozen?: { at: 'here' | 'there'; process: 'worker' | 'postgres' | 'temporal' };
}

export const losses = {
  'peer-database': { lines: { here: ['peer-database'] } },
  /** By which a copy is brought over. */
  'peer-vault': { lines: { there: ['peer-vault'] } },
  'own-vault': { lines: { here: ['own-vault'] } },
  witness: { lines: { here: ['witness'], there: ['witness'] } },
  peer: { lines: { here: PEER, there: PEER } },
  /** The site where the move runs sees nobody any more, and the other one sees the witness. */
  alone: { lines: { here: [...PEER, 'witness'], there: PEER } },
  'destination-alone': { lines: { here: PEER, there: [...PEER, 'witness'] } },
  worker: { frozen: { at: 'here', process: 'worker' } },
  temporal: { frozen: { at: 'here', process: 'temporal' } },
  postgres: { frozen: { at: 'here', process: 'postgres' } },
  'destination-worker': { frozen: { at: 'there', process: 'worker' } },
  'destination-postgres': { frozen: { at: 'there', process: 'postgres' } },
} as const satisfies Record<string, Loss>;
export type Lost = keyof typeof losses;

/** Lets it be lost; the answer mends it. */
export async function lose(
  world: World,
  what: Lost,
  { here, there, manner = 'dropped' }: { here: string; there: string; manner?: Manner },
): Promise<() => Promise<void>> {
  const { lines, frozen }: Loss = losses[what];
  if (lines) {
    await world.lines.cut(here, lines.here ?? [], manner);
    await world.lines.cut(there, lines.there ?? [], manner);
    return () => world.lines.heal();
  }
  if (!frozen) throw new Error(`${what}: nothing is lost`);
  const site = frozen.at === 'here' ? here : there;
  await world.signal(site, frozen.process, 'SIGSTOP');
  return () => world.signal(site, frozen.process, 'SIGCONT');
}
