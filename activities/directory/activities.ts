import { failure } from '../../workflows/model/failures.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import type { Database } from '../contacts/database.ts';
import { pageOperators } from '../notify/page.ts';
import type { OwnSite } from '../services/site.ts';
import type { DirectorySettings } from '../settings.ts';
import type { Followed, ProvisioningActivities } from '../types.ts';
import { directoryState, tellHeld, tellState, type DirectoryState } from './answer.ts';
import { followDirectory, isDirectoryFault } from './follow.ts';

/** So long a directory may be away before somebody is told: an answer of yesterday lets people in who left yesterday. */
const SILENCE_MS = 3_600_000;
/** Or so many answers that did not come, where it is asked more seldom. */
const SILENT_TURNS = 3;

export function createDirectoryActivities(site: OwnSite, signal: () => AbortSignal): ProvisioningActivities {
  return { 'follow-directory': ({ customer }) => followAndTell(site, customer, signal()) };
}

async function followAndTell(site: OwnSite, id: string, signal: AbortSignal): Promise<Followed> {
  const customer = site.customer(id);
  const { directory } = customer;
  if (!directory) return { state: 'none', told: `${id} has no directory: whoever has a home has an account` };
  const database = site.database(id);
  try {
    const outcome = await followDirectory({ site: site.settings.site, customer, settings: directory, signal });
    const state = await stateOf(database, id);
    if (outcome.state === 'held') await page(site, database, id, heldPage(site, id, state), signal);
    const told = tellState(state, Date.now());
    const { at, counts } = state;
    return { state: outcome.state, told, at, ...(counts && { counts: { ...counts } }) };
  } catch (error) {
    if (isDirectoryFault(error)) {
      const state = await stateOf(database, id);
      if (isSilent(state, directory)) await page(site, database, id, silentPage(site, id, state), signal);
    }
    throw error;
  }
}

async function stateOf(database: Database, customer: string): Promise<DirectoryState> {
  const state = await directoryState(database, customer);
  if (!state) throw failure('database-wrong', `${database.name}: what was written of the directory is gone`);
  return state;
}

const isSilent = ({ at }: DirectoryState, { everyMs }: DirectorySettings): boolean =>
  at === null || ageMs(at, Date.now()) > Math.max(SILENCE_MS, SILENT_TURNS * everyMs);

interface Page {
  key: string;
  subject: string;
  text: string;
}

const verbs = (site: OwnSite, customer: string): string =>
  `Nobody is enabled or disabled meanwhile.\nNext: tandem directory show --site ${site.settings.site} --customer ${customer}`;

function heldPage(site: OwnSite, customer: string, { held }: DirectoryState): Page {
  return {
    key: `directory/${customer}/${site.settings.site}/${held?.digest ?? ''}`,
    subject: `${customer}: an answer of the directory waits for an operator at ${site.settings.site}`,
    text: `${held ? tellHeld(held) : ''}.\n${verbs(site, customer)}`,
  };
}

function silentPage(site: OwnSite, customer: string, { at, failed }: DirectoryState): Page {
  const since = at === null ? 'it never gave one here' : `the last one is ${duration(ageMs(at, Date.now()))} old`;
  return {
    key: `directory/${customer}/${site.settings.site}/silent-since/${at ?? 'ever'}`,
    subject: `${customer}: the directory gives no answer at ${site.settings.site}`,
    text: `${failed ?? ''}; ${since}.\n${verbs(site, customer)}`,
  };
}

/** Once for one matter: the next look finds it told. Where no channel took it, it is tried again. */
async function page(
  site: OwnSite,
  database: Database,
  customer: string,
  what: Page,
  signal: AbortSignal,
): Promise<void> {
  const [row] = await database.query<{ paged: string | null }>(
    'select paged from tandem.directory_answer where customer = $1',
    [customer],
  );
  if (row?.paged === what.key) return;
  const { sent, failed } = await pageOperators(site.settings, { customer, move: null, ...what }, signal);
  if (failed.length > 0 && sent.length === 0) return;
  await database.query('update tandem.directory_answer set paged = $2 where customer = $1', [customer, what.key]);
}
