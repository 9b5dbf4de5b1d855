import { readLedger } from '../../activities/journal/read.ts';
import { fateOf, judgeLedger, type UserFate } from '../../activities/journal/recovery.ts';
import { Mismatch } from '../../activities/journal/mismatch.ts';
import { keyOf, recordKeys } from '../../activities/vault/keys.ts';
import type { FailoverReport } from '../../workflows/model/moves.ts';
import { Fault } from '../fault.ts';
import { readFirst, type FoundMove } from '../journals.ts';
import type { Context } from './print.ts';
import { openConfiguration, siteOf } from './site.ts';

interface Asked {
  customer: string;
  /** Null while no vault holds anything of the move. */
  found: FoundMove | undefined;
  report: FailoverReport;
  user: string;
}

/** What one user of the lost half got, by the recovery ledger that the move's report names. His name is not said again. */
export async function tellUser(context: Context, { customer, found, report, user }: Asked): Promise<void> {
  const digest = report.steps.findLast((s) => typeof s.facts['ledger'] === 'string')?.facts['ledger'];
  if (typeof digest !== 'string')
    throw new Fault(
      `move ${report.move} of ${customer}: no recovery ledger was kept`,
      'Contacts were not restored in it, or the key of the customer was gone: `tandem failover report` tells which.',
    );
  if (!found)
    throw new Fault(
      `move ${report.move} of ${customer}: its recovery ledger is not in a vault yet`,
      '`tandem status` shows what it waits for.',
    );
  const { value: parts, from } = await readFirst(found, readLedger);
  const { head, entries } = judged(
    digest,
    parts.map((p) => p.document),
  );
  const configuration = await openConfiguration(context);
  const keys = (await siteOf(configuration, found.site).settings()).customers.get(customer)?.keys;
  if (!keys) throw new Fault(`site ${found.site}: does not serve ${customer}`, '`tandem config check` shows who.');
  const key = recordKeys(keyOf(keys, head.keyId, 'recovery ledger')).userKey(user);
  const fate = fateOf(entries, key);
  const id = key.toString('hex');
  if (fate === null)
    throw new Fault(
      `recovery ledger of move ${report.move}: does not have user ${id}`,
      `It has the users whose home is ${head.from}. Compare the spelling: the part before the @, as the service stores it.`,
    );
  const { snapshot, point } = head;
  const brought = `snapshot ${snapshot.seq} of ${snapshot.site}, of ${point}`;
  context.out.answer({ move: report.move, user: id, fate, snapshot, point, readFrom: from }, [
    `User ${id}: ${texts[fate](brought)}`,
    `  by the recovery ledger of move ${report.move}, signed by ${head.site}, read from vault ${from}`,
  ]);
}

const texts: Record<UserFate, (brought: string) => string> = {
  'as-of': (brought) => `as of ${brought}`,
  'no-snapshot': (brought) => `no snapshot: ${brought}, does not have him, and nothing of his stood here`,
  held: (brought) => `held: rows of his that did not come with ${brought}, stood here, and were left as they were`,
  quarantined: (brought) => `quarantined by the restore of ${brought}: not let in until an operator decides`,
  unproven: (brought) => `came with ${brought}; whether he was changed since nobody could tell`,
};

function judged(digest: string, parts: Parameters<typeof judgeLedger>[1]): ReturnType<typeof judgeLedger> {
  try {
    return judgeLedger(digest, parts);
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error;
    throw new Fault(error.message, 'Export the evidence from the other site’s vault: `tandem evidence export --site`.');
  }
}
