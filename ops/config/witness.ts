import type { VaultAccess } from '../../activities/settings.ts';
import type { Cursor } from '../../runbooks/yaml.ts';
import { bucketOf, endpoint as isEndpoint, SAFE } from './addresses.ts';
import type { Configuration, SiteConfiguration, WitnessConfiguration } from './configuration.ts';
import { accountOf, sourceOf } from './references.ts';
import { secretText } from './secrets.ts';
import { together } from './together.ts';

/** The name that the witness goes by, where others go by that of their site. */
export const WITNESS = 'witness';

/** Who is at neither site: a bucket, or a URL that can only be looked at; nulls when the file names none. */
export function witnessOf(
  at: Cursor,
  sites: ReadonlyMap<string, SiteConfiguration>,
): { bucket: WitnessConfiguration | null; url: string | null } {
  if (!at.present) return { bucket: null, url: null };
  if (!at.has('url')) return { bucket: bucketWitness(at, sites), url: null };
  return { bucket: null, url: at.fields(['url']).url.text(SAFE, isEndpoint) };
}

/** Each site has an account of its own, so that what one may do there can be taken from it alone. */
function bucketWitness(at: Cursor, sites: ReadonlyMap<string, SiteConfiguration>): WitnessConfiguration {
  const { endpoint, region, bucket, accounts } = at.fields(['endpoint', 'region', 'bucket', 'accounts']);
  const place = bucketOf({ endpoint, region, bucket });
  for (const { site, vault } of sites.values()) {
    if (vault.endpoint !== '' && vault.endpoint === place.endpoint && vault.bucket === place.bucket)
      at.fault(`it is the vault of ${site}; a witness is at neither site`);
  }
  if (sites.has(WITNESS)) at.fault(`a site is called ${WITNESS} too; give that one another name`);
  const of = Object.entries(accounts.fields([...sites.keys()])).map(
    ([site, account]) => [site, accountOf(account)] as const,
  );
  const owners = new Map<string, string>();
  for (const [site, { accessKeyId }] of of) {
    const source = sourceOf(accessKeyId);
    const other = owners.get(source);
    if (other !== undefined && source !== '')
      accounts.fault(`${other} and ${site} have the same account; each needs its own`);
    owners.set(source, site);
  }
  return { ...place, accounts: new Map(of) };
}

/** The witness as one site's account sees it; null when there is none. */
export async function witnessAccess(configuration: Configuration, site: string): Promise<VaultAccess | null> {
  const { witness } = configuration;
  const account = witness?.accounts.get(site);
  if (!witness || !account) return null;
  const { endpoint, region, bucket } = witness;
  const [accessKeyId, secretAccessKey] = await together([
    secretText(configuration, account.accessKeyId),
    secretText(configuration, account.secretAccessKey),
  ]);
  return { site: WITNESS, endpoint, region, bucket, accessKeyId, secretAccessKey };
}
