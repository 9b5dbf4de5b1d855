import { isOpen, stateAfter, type ExternalUpdate, type ExternalVerb } from '../../workflows/model/external.ts';
import type { Database } from '../contacts/database.ts';
import { lockByToken, settle } from './updates.ts';

/** A party says by its word that it has read the request, or that it is done; it can say nothing else. */
export type Answer = Extract<ExternalVerb, 'acknowledge' | 'done'>;

/**
 * Takes a party's answer at the customer's database; null when its word opens nothing: unknown, closed, or of a move that
 * another has followed. The same answer again is taken again, and changes nothing.
 */
export async function takeAnswer(
  database: Database,
  customer: string,
  token: string,
  answer: Answer,
): Promise<ExternalUpdate | null> {
  return database.transaction(async (client) => {
    const { rows } = await client.query<{ number: string }>(
      'select number from tandem.epoch where customer = $1 for share',
      [customer],
    );
    const update = await lockByToken(client, customer, token);
    if (!update || Number(rows[0]?.number ?? 0) > update.epoch) return null;
    const state = stateAfter[answer];
    if (update.state === state) return update;
    if (!isOpen(update.state)) return null;
    await settle(client, update, { state, by: update.party, because: 'the party says so' });
    return { ...update, state };
  });
}
