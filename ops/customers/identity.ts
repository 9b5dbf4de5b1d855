import type { SiteSettings } from '../../activities/settings.ts';
import { failure, failureKind } from '../../workflows/model/failures.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { readRecords } from '../../activities/vault/customer-records.ts';
import { customerStanding, type CustomerStanding } from '../../workflows/model/customer.ts';
import { databaseOf } from './ground.ts';
import { identityOf } from './add.ts';

/** An id never changes, and one that is gone is never given again: what the configuration says is held against both stores of a site. */

/** A worker that starts, and a command, wait no longer for a vault that is away: it starts without. */
const SHORT = { connectMs: 1500, requestMs: 4000, attempts: 1, callMs: 5000 };

/** Each customer of a site whose database or vault says another thing than its configuration; a store that does not answer says nothing. */
export async function foreignIds(settings: SiteSettings): Promise<string[]> {
  const { site, publicKeys } = settings;
  const vault = new S3Vault(settings.vault, SHORT);
  const standingOf = async (customer: string, sites: readonly string[]): Promise<CustomerStanding | null> => {
    try {
      const signal = AbortSignal.timeout(SHORT.callMs);
      const stored = await readRecords({ vault, customer, publicKeys, signal }, sites);
      return customerStanding(
        stored.map(({ record }) => record),
        sites,
      );
    } catch {
      return null;
    }
  };
  try {
    const each = await Promise.all(
      [...settings.customers.values()].map(async (customer) => {
        const { id, domain, sites } = customer;
        const standing = await standingOf(id, sites);
        const found: string[] = [];
        if (standing && standing.destroyed.length > 0)
          found.push(
            `customer ${id}: its keys were destroyed at ${standing.destroyed[0]?.site} on ${standing.destroyed[0]?.at}: its id is never given again`,
          );
        const joined = standing?.joined.find((j) => j.domain !== domain);
        if (joined)
          found.push(
            `customer ${id}: was added with the domain ${joined.domain}, and is ${domain} in the configuration`,
          );
        const database = databaseOf(customer, site);
        try {
          const says = await identityOf(database);
          if (says && (says.customer !== id || says.site !== site)) {
            const since = (await standingOf(says.customer, sites))?.since ?? null;
            const vaultSays = since === null ? '' : `, and the vault of ${site} has ${says.customer} since ${since}`;
            found.push(
              `customer ${id}: its database at ${site} says it is that of ${says.customer} at ${says.site}${vaultSays}: the id of a customer never changes`,
            );
          }
        } catch (error) {
          if (failureKind(error) === undefined) throw error;
        } finally {
          await database.close();
        }
        return found;
      }),
    );
    return each.flat();
  } finally {
    vault.close();
  }
}

/** Rejects with `customer-refused`, which names all of them. */
export async function refuseOthersIds(settings: SiteSettings): Promise<void> {
  const found = await foreignIds(settings);
  if (found.length > 0) throw failure('customer-refused', found.join('; '));
}
