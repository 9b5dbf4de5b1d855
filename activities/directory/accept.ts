import { failure } from '../../workflows/model/failures.ts';
import type { Approver } from '../../workflows/model/plan.ts';
import type { Database } from '../contacts/database.ts';
import { whyRefused } from '../vault/accept.ts';

/** An operator's word that the users of a held answer are to be disabled: these, and no others. */
export interface RemovalWord {
  customer: string;
  site: string;
  /** Of the held answer, as it was shown. */
  digest: string;
  removed: number;
  operator: string;
  because: string;
  at: string;
  /** Ed25519 of the operator over `removalText`, hex. */
  signature: string;
}

/** What an operator signs: readable, so that it can be read aloud. */
export function removalText(w: Omit<RemovalWord, 'signature'>): string {
  return [
    'tandem/1 directory accept',
    `customer: ${w.customer}`,
    `site: ${w.site}`,
    `disables: ${w.removed} users`,
    `digest: ${w.digest}`,
    `operator: ${w.operator}`,
    `because: ${JSON.stringify(w.because)}`,
    `at: ${w.at}`,
    '',
  ].join('\n');
}

/**
 * Lets the next answer disable the users whom the held one would. Who is missing beyond these counts as before. Fails with
 * `signature-invalid` when it is not the word of an operator who may give it, and `input-invalid` when no answer is held,
 * or no longer the one that he saw.
 */
export async function acceptRemovals(
  database: Database,
  operators: readonly Approver[],
  word: RemovalWord,
): Promise<void> {
  const { operator, signature } = word;
  const refusal = whyRefused(operators, { operator, text: removalText(word), signature });
  if (refusal !== null) throw failure('signature-invalid', `removals by the directory: ${refusal}`);
  await database.transaction(async (client) => {
    await client.query("select pg_advisory_xact_lock(hashtext('tandem.directory'))");
    const { rows } = await client.query<{ held: boolean }>(
      `select held->>'digest' = $2 and (held->>'removed')::int = $3 as held from tandem.directory_answer
        where customer = $1 and held is not null`,
      [word.customer, word.digest, word.removed],
    );
    const [row] = rows;
    if (!row) throw failure('input-invalid', `${database.name}: no answer of the directory is held`);
    if (!row.held)
      throw failure(
        'input-invalid',
        `${database.name}: another answer is held than digest ${word.digest} was signed for`,
      );
    await client.query('update tandem.directory_removal set accepted = $1 where accepted is null', [
      JSON.stringify(word),
    ]);
  });
}
