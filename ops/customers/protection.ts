import { appliedSnapshot } from '../../activities/contacts/applied.ts';
import { Database } from '../../activities/contacts/database.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import { allReceipts } from '../../activities/vault/test-receipts.ts';
import type { FoundProtected } from '../../workflows/model/customer.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { newestPassed } from '../../workflows/model/test-due.ts';
import { coverageOf, type Vaults } from '../coverage.ts';
import { databaseOf } from './ground.ts';

/** What a customer that joins lacks, for people, with the command that brings it. */
export interface Lack {
  what: string;
  next: string | null;
}

export interface Found {
  lacks: Lack[];
  /** What was seen; it proves only where nothing lacks. */
  proof: Pick<FoundProtected, 'covered' | 'test'> | null;
}

/**
 * Whether a customer is protected is said by nobody, but found: each site's snapshots are covered by the other and applied
 * there, and a test beside the service, or with real users, has passed.
 */
export async function findProtection(
  settings: SiteSettings,
  vaults: Vaults,
  customer: CustomerSettings,
): Promise<Found> {
  const { id, peer, sites } = customer;
  const { site } = settings;
  const lacks: Lack[] = [];
  const covered: FoundProtected['covered'] = [];
  const directions = await coverageOf(settings, vaults, id);
  for (const d of directions) {
    const by = d.site === site ? peer : site;
    if (!d.peerAnswers)
      lacks.push({
        what: `the vault of ${peer} does not answer: what it covers of ${d.site} is not known`,
        next: null,
      });
    else if (d.covered) covered.push({ site: d.site, gen: d.covered.snapshot.gen, seq: d.covered.snapshot.seq, by });
    else
      lacks.push({
        what: `no snapshot of ${d.site} is covered by ${by}`,
        next: `tandem snapshot now --customer ${id} --site ${d.site}`,
      });
  }
  lacks.push(...(await notApplied(settings, customer)));
  const receipts = await allReceipts({ own: vaults.own, peer: vaults.peer(peer) }, settings, id, sites);
  const test = newestPassed(receipts);
  if (!test)
    lacks.push({
      what: 'no isolated continuity test has passed',
      next: `tandem test start --customer ${id} --site ${site}`,
    });
  return { lacks, proof: test && { covered, test: { site: test.site, run: test.run } } };
}

async function notApplied({ site }: SiteSettings, customer: CustomerSettings): Promise<Lack[]> {
  const { id, peer, peerDatabaseUrl } = customer;
  const own = databaseOf(customer, site);
  const limits = { connections: 1, connectMs: 3000, statementMs: 5000 };
  const theirs = new Database(`database of ${id} at ${peer}`, peerDatabaseUrl, limits);
  try {
    const here = await appliedSnapshot(own, id, peer).then((found) => found !== null, failureText);
    const sql = 'select from tandem.observe_applied() where customer = $1 and site = $2';
    const there = await theirs.query(sql, [id, site]).then((rows) => rows.length > 0, failureText);
    const lack = (applied: boolean | string, of: string, at: string): Lack[] =>
      applied === true
        ? []
        : [
            {
              what: `no snapshot of ${of} is known to be applied at ${at}${applied === false ? '' : `: ${applied}`}`,
              next: null,
            },
          ];
    return [...lack(here, peer, site), ...lack(there, site, peer)];
  } finally {
    await Promise.all([own.close(), theirs.close()]);
  }
}
