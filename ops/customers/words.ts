import type { Database } from '../../activities/contacts/database.ts';
import { noteLeaving } from '../../activities/services/leaving.ts';
import { readOperators } from '../../activities/services/operators.ts';
import type { Operator } from '../../activities/settings.ts';
import {
  whyNotNow,
  whyWordRefused,
  wordsTogether,
  type CustomerRecord,
  type CustomerWord,
  type Decision,
} from '../../workflows/model/customer.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { Approver } from '../../workflows/model/plan.ts';
import { record, type Gathered, type Ground } from './ground.ts';

/** Operators' words that a customer leaves, or stays. Each is kept whole in the vault of the site where it was given. */

export interface Hearing {
  ground: Ground;
  database: Database;
  customer: string;
  operators: readonly Operator[];
  gathered: Gathered;
  signal: AbortSignal;
}

export const wordsOf = (records: readonly CustomerRecord[]): CustomerWord[] =>
  records.flatMap((r) => (r.kind === 'word' ? [r.word] : []));

/** Judges a word here and now; rejects with `verb-refused` when it does not count. Answers the operators who count here. */
export async function judgeWord(hearing: Hearing, word: CustomerWord): Promise<Approver[]> {
  const { database, customer, operators, gathered } = hearing;
  const { records, standing } = gathered;
  const now = Date.now();
  const { admitted } = await readOperators(database, operators);
  const used = new Set(wordsOf(records).map(({ nonce }) => nonce));
  const why = whyNotNow(word.verb, standing, now) ?? whyWordRefused(admitted, word, { customer, standing, used, now });
  if (why !== null) throw failure('verb-refused', `${word.verb} of ${customer}: ${why}`);
  return admitted;
}

/**
 * Takes one operator's word, and makes it the decision with the second, one of them a commander's. Both vaults must have
 * answered: the other word may lie in the other one.
 */
export async function hearWord(
  hearing: Hearing,
  word: CustomerWord & { verb: 'leave' | 'stay' },
): Promise<{ decision: Decision | null; by: string[] }> {
  const { ground, database, customer, gathered, signal } = hearing;
  const admitted = await judgeWord(hearing, word);
  await record(ground, { kind: 'word', customer, word }, signal);
  const together = wordsTogether(admitted, wordsOf(gathered.records), word, Date.now());
  const by = together.words.map(({ operator }) => operator);
  if (!together.agreed) return { decision: null, by };
  const { decision: number, verb, on, because } = word;
  const body = { kind: 'decision' as const, customer, number, verb, on, because, words: together.words };
  const decision = (await record(ground, body, signal)) as Decision;
  await noteLeaving(database, customer, verb === 'leave' ? decision : null);
  return { decision, by };
}
