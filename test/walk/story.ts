import { generateKeyPairSync, hash, randomBytes, type KeyObject } from 'node:crypto';
import type { JobName } from '../../activities/mover/messages.ts';
import { moveInProcess } from '../../activities/mover/mover.ts';
import type { Keyring, SiteSettings } from '../../activities/settings.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import type { Receipt, SnapshotId, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { editPeople } from '../../ops/embedded/people/edit.ts';
import { createPeople } from '../../ops/embedded/people/people.ts';
import type { Site } from '../rig/databases.ts';
import { sql } from '../rig/sql.ts';
import { objectsOf, type Bucket, type Ground, type Objects } from './ground.ts';

export const CUSTOMER = 'acme';
export const MOVE = 'walk-move';
const sites = ['east', 'west'] as const;
const HOUR = 3_600_000;
/** Two of them fill a transaction: so that what differs takes more than one. */
const FAT_BYTES = 1_100_000;
const FAT_USERS = 3;

/** A moment of the story: what stands in a database, and in the vaults. A database here is a model, and left alone. */
export interface Stage {
  database: string;
  own: Objects;
  /** Of the peer, which is only read. */
  peer: Objects;
}

export interface Story {
  stages: Record<'first' | 'changed' | 'unpulled' | 'unverified' | 'unapplied' | 'moving' | 'expired', Stage>;
  taken: { first: SnapshotSummary; second: SnapshotSummary };
  settings: (site: Site, at: Connections) => SiteSettings;
  publicKeys: ReadonlyMap<string, KeyObject>;
  keys: { current: string; ring: Map<string, Buffer> };
}

/** How a site reaches what is its own, and its peer's vault. */
export interface Connections {
  database: string;
  own: Bucket;
  peer: Bucket;
}

/** Runs a job as production does, undisturbed. */
export function undisturbed(settings: SiteSettings, job: JobName, input: unknown): Promise<unknown> {
  return moveInProcess(settings, job, input, { heartbeat: () => undefined, signal: new AbortController().signal });
}

/**
 * Two snapshots of east, as they come to west: what each job finds before it. Users change, come and go in between; at
 * west a row was changed behind the ledger's back, and a user left the directory.
 */
export async function tellStory(ground: Ground, users = 24): Promise<Story> {
  const pairs = { east: generateKeyPairSync('ed25519'), west: generateKeyPairSync('ed25519') };
  const publicKeys = new Map(sites.map((site) => [site as string, pairs[site].publicKey]));
  const keys = { current: 'k1', ring: new Map([['k1', randomBytes(32)]]) };
  const settings: Story['settings'] = (site, at) => settingsOf(site, at, pairs[site].privateKey, publicKeys, keys);
  const bucket = { east: await ground.newBucket('east'), west: await ground.newBucket('west') };
  const urls = { east: await ground.newDatabase('east'), west: await ground.newDatabase('west') };
  await createPeople({ seed: 'walk', users, customer: CUSTOMER, sites, urls, contacts: { exactly: 4 } });
  await makeFat(urls.east);
  const run = async (site: Site, job: JobName, input: unknown): Promise<unknown> => {
    // A copy works for its model: whoever is connected to a database, it cannot be copied.
    const database = await ground.newDatabase(site, urls[site]);
    const peer = bucket[site === 'east' ? 'west' : 'east'];
    const result = await undisturbed(settings(site, { database, own: bucket[site], peer }), job, input);
    await settled(database);
    urls[site] = database;
    return result;
  };
  const vaults = async (): Promise<Record<Site, Objects>> => ({
    east: await objectsOf(bucket.east),
    west: await objectsOf(bucket.west),
  });
  const at = async (site: Site): Promise<Stage> => {
    const { east, west } = await vaults();
    return { database: urls[site], own: site === 'east' ? east : west, peer: site === 'east' ? west : east };
  };
  const customer = { customer: CUSTOMER };

  const first = await at('east');
  const one = (await run('east', 'take-snapshot', customer)) as SnapshotSummary;
  const never = await at('west');
  await run('west', 'pull-snapshots', customer);
  await run('west', 'verify-snapshot', { snapshot: idOf(one) });
  await run('west', 'apply-standby', { snapshot: idOf(one) });
  urls.east = await ground.newDatabase('east', urls.east);
  await edit(urls.east, users);
  const changed = await at('east');
  const two = (await run('east', 'take-snapshot', { ...customer, read: 'changes' })) as SnapshotSummary;
  // Nothing was ever pulled, and two snapshots wait.
  const unpulled = { ...never, peer: (await vaults()).east };
  await run('west', 'pull-snapshots', customer);
  urls.west = await ground.newDatabase('west', urls.west);
  await disturb(urls.west);
  const unverified = await at('west');
  const receipt = (await run('west', 'verify-snapshot', { snapshot: idOf(two) })) as Receipt;
  if (receipt.suspect !== undefined) throw new Error(`the story has a suspect snapshot: ${receipt.suspect}`);
  const unapplied = await at('west');
  const moving = { ...unapplied, database: await ground.newDatabase('west', unapplied.database) };
  await sql(
    moving.database,
    `update tandem.epoch set number = 2, site = 'west', move = '${MOVE}';
     insert into tandem.move (move, customer, kind, workflow_id, phase, input, started_at)
       values ('${MOVE}', '${CUSTOMER}', 'failover', 'failover/${CUSTOMER}', 'moving', '{}', now());
     insert into tandem.journal (customer, move, seq, key, kind, at, body, hash)
       values ('${CUSTOMER}', '${MOVE}', 1, 'planned', 'planned', now(), '${canonicalJson(planOf(two))}', '\\x00')`,
  );
  // A generation later, which west holds and has applied: nothing needs the first any more.
  await run('west', 'apply-standby', { snapshot: idOf(two) });
  urls.east = await ground.newDatabase('east', urls.east);
  await sql(urls.east, 'delete from tandem.taken');
  const three = (await run('east', 'take-snapshot', customer)) as SnapshotSummary;
  await run('west', 'pull-snapshots', customer);
  await run('west', 'verify-snapshot', { snapshot: idOf(three) });
  await run('west', 'apply-standby', { snapshot: idOf(three) });
  const expired = await at('west');
  const stages = { first, changed, unpulled, unverified, unapplied, moving, expired };
  for (const { database } of Object.values(stages)) await settled(database);
  return { stages, taken: { first: one, second: two }, settings, publicKeys, keys };
}

/** As much of a plan as a restore reads. */
export function planOf(snapshot: SnapshotSummary): { digest: string; decisions: unknown; source: unknown } {
  const decisions = { customer: CUSTOMER, from: 'east', to: 'west', recoveryPoint: snapshot.point };
  const source = { from: 'own-vault', snapshot: idOf(snapshot), manifest: snapshot.manifest };
  return { digest: hash('sha256', canonicalJson(decisions)), decisions, source };
}

export const idOf = ({ customer, site, gen, seq }: SnapshotId): SnapshotId => ({ customer, site, gen, seq });

/** How long a server may take to notice that a process was killed. */
const NOTICE_MS = 5000;

/** Waits until nobody works in a database any more: a killed process leaves no session behind. */
export async function settled(url: string): Promise<void> {
  const admin = Object.assign(new URL(url), { pathname: '/postgres' }).toString();
  const name = new URL(url).pathname.slice(1);
  for (const deadline = Date.now() + NOTICE_MS; ; await new Promise((done) => setTimeout(done, 10))) {
    const sessions = await sql<{ query: string }>(
      admin,
      `select coalesce(query, 'of another role') as query from pg_stat_activity where datname = '${name}'`,
    );
    if (sessions.length === 0) return;
    if (Date.now() > deadline) throw new Error(`a session is left ${NOTICE_MS / 1000} s later: ${sessions[0]?.query}`);
  }
}

async function makeFat(url: string): Promise<void> {
  await sql(
    url,
    `update rosterusers r set askmessage = repeat(r.username || ' asks again. ', ${FAT_BYTES} / (length(r.username) + 13))
      where (username, jid) in (
        select username, min(jid) from rosterusers join tandem.home using (username) where site = 'east'
         group by 1 order by 1 limit ${FAT_USERS})`,
  );
}

/** Some of east change their contacts; one leaves, one comes, of one everything goes. */
async function edit(url: string, users: number): Promise<void> {
  await editPeople({ seed: 'walk', url, site: 'east', users: 4 });
  // The fat ones come first.
  const names = await sql<{ username: string }>(
    url,
    `select username from tandem.home where site = 'east' order by username`,
  );
  const [gone, emptied] = names.slice(FAT_USERS);
  await sql(
    url,
    `delete from tandem.home where username = '${gone?.username}';
     insert into tandem.home values ('newcomer', 'east');
     insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
       values ('newcomer', 'first@example', '', 'B', 'N', '', 'N', '', 'item');
     delete from rostergroups where username = '${emptied?.username}';
     delete from rosterusers where username = '${emptied?.username}';
     update rosterusers set nick = 'changed' where length(askmessage) > 1000`,
  );
  if (users < 12) throw new Error(`a story of ${users} users: 12 are the least`);
}

/** What stands in the way of the standby copy at west. */
async function disturb(url: string): Promise<void> {
  const known = await sql<{ username: string }>(
    url,
    `select username from tandem.home where site = 'east' order by username`,
  );
  const [gone, , stray] = known.map(({ username }) => username).slice(FAT_USERS);
  await sql(
    url,
    `delete from tandem.home where username = '${gone}';
     insert into tandem.home values ('newcomer', 'east');
     insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
       values ('${stray}', 'stray@example', '', 'B', 'N', '', 'N', '', 'item');
     insert into roster_version (username, version) select username, 'v' from tandem.home`,
  );
}

/** Of a site, as its worker would have them. */
export function settingsOf(
  site: Site,
  {
    database,
    own,
    peer,
  }: { database: string; own: Pick<Bucket, 'writer'> & Partial<Pick<Bucket, 'cleaner'>>; peer: Pick<Bucket, 'reader'> },
  signingKey: KeyObject,
  publicKeys: ReadonlyMap<string, KeyObject>,
  keys: Keyring,
): SiteSettings {
  const other = site === 'east' ? 'west' : 'east';
  return {
    site,
    vault: own.writer,
    cleaner: own.cleaner ?? null,
    witness: null,
    services: new Map(),
    peerVaults: new Map([[other, peer.reader]]),
    peerTemporals: new Map(),
    signingKey,
    publicKeys,
    operators: [],
    channels: new Map(),
    paging: [],
    callbacks: null,
    reportsFolder: '/nowhere',
    requests: new Map(),
    commands: new Map(),
    customers: new Map([
      [
        CUSTOMER,
        {
          id: CUSTOMER,
          domain: `${CUSTOMER}.example`,
          sites,
          peer: other,
          databaseUrl: database,
          peerDatabaseUrl: 'postgresql://nobody@127.0.0.1:9/nowhere',
          keys,
          options: [],
          objectives: { rpoMs: 8 * HOUR, rtoMs: 24 * HOUR },
          target: { rpoMs: 8 * HOUR, rtoMs: 24 * HOUR },
          snapshots: { everyMs: 8 * HOUR, betweenMs: 2 * HOUR, budgetMs: HOUR / 2, pullBytesPerSecond: null },
          continuityTest: { month: 3, day: 1, hour: 3 },
          limits: { contacts: 250 },
          parties: new Map(),
          runbooks: new Map(),
        },
      ],
    ]),
  };
}
