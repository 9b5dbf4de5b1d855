import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { lockEpoch } from '../contacts/restore.ts';
import { doneBefore, effectKey, noteEffect } from '../services/effects.ts';
import type { PlannedStep } from '../services/planned.ts';
import type { OwnSite } from '../services/site.ts';
import { channelOf } from './channels.ts';

/**
 * The act `notify`: sends the step's message through the step's channel. It may stand before the epoch is claimed, so a
 * move that was overtaken is stopped by its number: a lower one sends nothing.
 */
export async function notify(site: OwnSite, input: PlannedStep, signal?: AbortSignal): Promise<StepResult> {
  const { key, plan } = input;
  const { customer, epoch } = key;
  const step = plan.decisions.steps.find((s) => s.id === key.step);
  if (step?.channel === undefined || step.message === undefined)
    throw failure('input-invalid', `step ${key.step}: a channel and a message are expected`);
  const channel = channelOf(site.settings, step.channel);
  const database = site.database(customer);
  const done = await doneBefore(database, input);
  if (done) return done;
  await database.transaction(async (client) => {
    const { rows } = await client.query<{ number: string }>('select number from tandem.epoch where customer = $1', [
      customer,
    ]);
    if (Number(rows[0]?.number ?? 0) >= epoch.number) await lockEpoch(client, database.name, customer, epoch);
  });
  const { from, to, planned } = plan.decisions;
  const moved = planned
    ? `users of ${planned.half} move from site ${from} to ${to}, as planned`
    : `site ${from} is lost, ${to} takes over`;
  await channel.send(
    {
      key: effectKey(key),
      subject: `${customer}: ${step.message}`,
      text: `${step.message}\n\nCustomer ${customer}: ${moved}, under epoch ${epoch.number}.\nStep ${key.step} of move ${epoch.move}.\n`,
      customer,
      move: epoch.move,
      severity: 'info',
    },
    signal,
  );
  return database.transaction((client) =>
    noteEffect(client, input, {
      summary: `channel ${step.channel} has accepted the message`,
      facts: { channel: step.channel ?? '' },
    }),
  );
}
