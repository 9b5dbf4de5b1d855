import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { noteEffect, readEffect } from '../services/effects.ts';
import type { PlannedStep } from '../services/planned.ts';
import type { OwnSite } from '../services/site.ts';
import { tokenHash, tokenOf } from './updates.ts';

/**
 * The act `request-external-update`: writes one request for each party of the step, and closes those of earlier epochs,
 * whatever became of them, in the transaction of its line in the journal. The requests are sent by runs of their own.
 */
export async function requestExternalUpdate(site: OwnSite, input: PlannedStep): Promise<StepResult> {
  const { key, plan } = input;
  const { customer: id, epoch } = key;
  const { parties } = site.customer(id);
  const step = plan.decisions.steps.find((s) => s.id === key.step);
  const asked = (step?.parties ?? []).map((name) => ({ name, party: parties.get(name) }));
  if (asked.length === 0) throw failure('input-invalid', `step ${key.step}: the plan names no party`);
  const database = site.database(id);
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, id, epoch);
    const done = await readEffect(client, key);
    if (done) return done;
    await client.query(
      `update tandem.external_update
          set state = 'superseded', because = $3, changed_at = now(),
              history = history || jsonb_build_array(jsonb_build_object('state', 'superseded', 'by', $4::text, 'at', now()))
        where customer = $1 and epoch < $2 and state in ('requested', 'acknowledged')`,
      [id, epoch.number, `the customer has moved again, under epoch ${epoch.number}`, epoch.move],
    );
    for (const { name, party } of asked) {
      if (!party) throw failure('input-invalid', `step ${key.step}: ${id} has no party ${name} in this configuration`);
      const { from, to } = plan.decisions;
      const token = tokenOf(site.settings.signingKey, {
        customer: id,
        party: name,
        epoch: epoch.number,
        move: epoch.move,
      });
      await client.query(
        `insert into tandem.external_update (customer, epoch, party, move, option, from_site, to_site, state, token)
         values ($1, $2, $3, $4, $5, $6, $7, 'requested', $8) on conflict (customer, epoch, party) do nothing`,
        [id, epoch.number, name, epoch.move, party.option, from, to, tokenHash(token)],
      );
    }
    const names = asked.map(({ name }) => name).join(', ');
    return noteEffect(client, input, {
      summary: `asked for: ${names}; \`tandem external-update list\` follows them after the move has closed`,
      facts: { parties: names },
    });
  });
}
