import { withoutDrift } from '../../workflows/model/acceptances.ts';
import type { Decisions } from '../../workflows/model/plan.ts';
import type { OwnSite } from './site.ts';

/** The decisions that somebody has approved in this move, when the world has only drifted since; else those of now. */
export async function keepSigned(site: OwnSite, move: string | undefined, now: Decisions): Promise<Decisions> {
  if (move === undefined) return now;
  const [row] = await site.database(now.customer).query<{ decisions: Decisions }>(
    `select p.body::jsonb -> 'decisions' as decisions from tandem.journal p
      where p.move = $1 and p.kind = 'planned' and exists (
        select from tandem.journal s where s.move = p.move and s.kind = 'signed'
           and s.body::jsonb ->> 'verb' = 'approve' and s.body::jsonb ->> 'digest' = p.body::jsonb ->> 'digest')
      order by p.seq desc limit 1`,
    [move],
  );
  return row ? withoutDrift(row.decisions, now) : now;
}
