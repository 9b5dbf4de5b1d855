import { failure } from '../../workflows/model/failures.ts';
import type { StepInput } from '../../workflows/model/moves.ts';
import { canonicalJson, type Plan } from '../../workflows/model/plan.ts';
import { sha256 } from '../vault/signed.ts';
import type { OwnSite } from './site.ts';

/** A step as an act sees it: with the plan that was signed. */
export interface PlannedStep extends Omit<StepInput, 'plan'> {
  plan: Plan;
}

/**
 * Finds the plan that the step belongs to in the move's journal, by the digest that people signed. `journal-broken` when
 * the line that names it holds other decisions: nothing is done by a plan that was changed after it was signed.
 */
export async function plannedStep(site: OwnSite, { key, act, plan: digest }: StepInput): Promise<PlannedStep> {
  const { customer, epoch } = key;
  const [row] = await site.database(customer).query<{ body: string; ended: string | null }>(
    `select body, (select phase from tandem.move m where m.move = $2 and m.ended_at is not null) as ended
       from tandem.journal where customer = $1 and move = $2 and kind = 'planned' and body::jsonb->>'digest' = $3
      order by seq desc limit 1`,
    [customer, epoch.move, digest],
  );
  if (!row) throw failure('input-invalid', `step ${key.step}: the journal of move ${epoch.move} has no plan ${digest}`);
  // Another move has taken the slot: not even what leaves no line here is begun.
  if (row.ended !== null) throw failure('move-ended', `step ${key.step}: move ${epoch.move} has ended (${row.ended})`);
  const plan = JSON.parse(row.body) as Plan;
  if (sha256(canonicalJson(plan.decisions)) !== digest)
    throw failure('journal-broken', `journal of move ${epoch.move}: plan ${digest} is not what was signed`);
  return { key, act, plan };
}
