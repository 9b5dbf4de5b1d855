import type { Strays } from '../../workflows/model/checks.ts';
import { journalPlace } from '../journal/objects.ts';
import { sitePrefix } from './manifest.ts';
import type { Vault } from './port.ts';

/** What a site writes below `<customer>/<site>/` in its own vault; of the other site's it holds generations, journals, test receipts and records of the customer. */
const generation = /^\d{10}\/(?:packs\/[0-9a-f]{64}|m\/\d{10}\.json)$/;
const JOURNAL = 'journal/';
const receipts =
  /^tests\/\d{4}-\d{2}-\d{2}-[A-Za-z0-9._-]+\.json$|^customer\/(?:[a-z]+|words\/[0-9a-f]{32}|decisions\/\d{10})\.json$/;
const others = /^(?:receipts|accepted|checks|tests|journal)\/|^salvage\/\d{10}\/(?:salvage\.json|packs\/[0-9a-f]{64})$/;
/** Named in a check: enough to begin to look. */
const NAMED = 20;

/** Counts what lies below a site's prefix and does not belong there. */
export async function findStrays(
  vault: Vault,
  { customer, site }: { customer: string; site: string },
  signal: AbortSignal,
): Promise<Strays> {
  const prefix = sitePrefix(customer, site);
  const found: Strays = { versions: 0, markers: 0, unknown: 0, keys: [] };
  for await (const { key, versions, markers } of vault.versionCounts(prefix, { signal })) {
    const name = key.slice(prefix.length);
    const journal = name.startsWith(JOURNAL) && journalPlace(name.slice(JOURNAL.length)) !== null;
    const unknown =
      !generation.test(name) && !receipts.test(name) && !journal && !(site === vault.site && others.test(name));
    if (unknown) found.unknown += 1;
    found.versions += Math.max(0, versions - 1);
    found.markers += markers;
    if ((unknown || versions > 1 || markers > 0) && found.keys.length < NAMED) found.keys.push(key);
  }
  return found;
}
