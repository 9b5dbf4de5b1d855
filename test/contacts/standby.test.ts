import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { alone } from '../../activities/contacts/alone.ts';
import { appliedSnapshot } from '../../activities/contacts/applied.ts';
import { differencesByLedger } from '../../activities/contacts/ledger-differences.ts';
import { applyStandby } from '../../activities/contacts/standby.ts';
import { openPack, rangesOf } from '../../activities/vault/pack-reader.ts';
import type { ApplyCounts, SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { CUSTOMER, openWorld, quiet, type World } from '../vault/world.ts';
import { copyRows, differences } from './same.ts';

let world: World;
beforeEach(async () => {
  world = await openWorld(120);
});
afterEach(() => world.drop());

async function apply(taken: SnapshotSummary): Promise<ApplyCounts> {
  const opened = await world.open('east', taken);
  return applyStandby({
    database: world.databases.west,
    site: 'west',
    snapshot: opened,
    keys: world.keys,
    ...quiet,
  });
}

const someone = async (half: string): Promise<string> => {
  const [row] = await world.sql(
    'east',
    `select h.username from tandem.home h where site = $1 and (select count(*) from rosterusers r where r.username = h.username) > 3
      order by 1 limit 1`,
    [half],
  );
  return String(row?.['username']);
};
const addContact = (site: 'east' | 'west', username: string, jid: string) =>
  world.sql(
    site,
    `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
     values ($1, $2, '', 'B', 'N', '', 'N', '', 'item')`,
    [username, jid],
  );
const contactsOf = async (site: 'east' | 'west', username: string) =>
  (await world.sql(site, 'select jid from rosterusers where username = $1 order by 1', [username])).map(
    (r) => r['jid'],
  );

/** As long as until the schedule's next run, since every row was compared. */
const minutesGoBy = (): Promise<unknown> =>
  world.sql('west', "update tandem.applied set proven_at = proven_at - interval '5 minutes'");

/** A run of another process, at comparing. */
async function comparing(): Promise<{ end: () => Promise<void> }> {
  const [begun, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const site = { customer: CUSTOMER, site: 'east', gen: 0, seq: 0 };
  const run = alone(world.databases.west, site, () => (begun.resolve(), ended.promise));
  await begun.promise;
  return { end: async () => (ended.resolve(), void (await run)) };
}

describe('the standby copy', () => {
  it('never overwrites users who are served here', async () => {
    const before = await copyRows(world, 'west', 'west');
    await apply(await world.take('east'));
    await world.sql('west', "update tandem.serving set site = 'west' where half = 'east'");
    const mine = await copyRows(world, 'west', 'east');
    const name = await someone('east');
    await addContact('east', name, 'late@example');
    expect(await apply(await world.take('east'))).toMatchObject({ users: 0, written: 0, held: 60 });
    expect(await differences(world, 'west', 'east', mine)).toBe(0);
    expect(await differences(world, 'west', 'west', before)).toBe(0);
  });

  it('refuses a snapshot of an older epoch than the newest known here', async () => {
    const taken = await world.take('east');
    await world.sql('west', "update tandem.epoch set number = 2, site = 'west', move = 'm'");
    await expect(apply(taken)).rejects.toMatchObject({ type: 'epoch-superseded' });
    expect(await appliedSnapshot(world.databases.west, CUSTOMER, 'east')).toBeNull();
    expect(await world.sql('west', 'select from tandem.ledger')).toHaveLength(0);
  });

  it('is written by one run at a time: those that meet do not fail, and leave the same', async () => {
    const taken = await world.take('east');
    const runs = await Promise.all([apply(taken), apply(taken), apply(taken), apply(taken)]);
    expect(runs.map(({ users }) => users)).toEqual([60, 60, 60, 60]);
    expect(runs.reduce((sum, { written }) => sum + written, 0)).toBeLessThanOrEqual(60);
    expect(await differences(world, 'west', 'east', await copyRows(world, 'east', 'east'))).toBe(0);
  });

  it('holds rows that no ledger entry explains', async () => {
    const name = await someone('east');
    await addContact('west', name, 'unexplained@example');
    expect(await apply(await world.take('east'))).toMatchObject({ users: 59, held: 1 });
    expect(await contactsOf('west', name)).toEqual(['unexplained@example']);
  });

  it('never goes back to an older snapshot', async () => {
    const first = await world.take('east');
    const name = await someone('east');
    await addContact('east', name, 'newer@example');
    const second = await world.take('east');
    await apply(second);
    expect(await apply(first)).toMatchObject({ users: 59, written: 0, held: 1 });
    expect(await contactsOf('west', name)).toContain('newer@example');
    expect(await appliedSnapshot(world.databases.west, CUSTOMER, 'east')).toMatchObject({ seq: 2 });
  });

  it('counts as applied before every row was compared again, but only of what it was proven to hold', async () => {
    await apply(await world.take('east'));
    const name = await someone('east');
    await addContact('east', name, 'new@example');
    const taken = await world.take('east');
    await minutesGoBy();
    const stop = new AbortController();
    const opened = await world.open('east', taken);
    const request = { database: world.databases.west, site: 'west', snapshot: opened, keys: world.keys };
    const interrupted = applyStandby({ ...request, heartbeat: () => stop.abort(), signal: stop.signal });
    await expect(interrupted).rejects.toThrow();
    expect(await contactsOf('west', name)).toContain('new@example');
    expect((await appliedSnapshot(world.databases.west, CUSTOMER, 'east'))?.seq).toBe(taken.seq);
    const byLedger = () =>
      differencesByLedger({
        database: world.databases.west,
        snapshot: taken,
        index: () => opened.index(),
        halves: ['east'],
        signal: quiet.signal,
      });
    expect((await byLedger())?.equal.users).toBe(60);
    // Whoever was given users to serve may have let them change things, whatever the ledger says.
    for (const site of ['west', 'east'])
      await world.sql('west', "update tandem.serving set site = $1 where half = 'east'", [site]);
    expect(await byLedger()).toBeNull();
  });

  it('is compared by one run at a time: who meets one goes by the ledger, or waits for what it finds', async () => {
    const first = await world.take('east');
    const other = await comparing();
    let looks = 0;
    const opened = await world.open('east', first);
    const request = { database: world.databases.west, site: 'west', snapshot: opened, keys: world.keys };
    const waiting = applyStandby({ ...request, heartbeat: () => (looks += 1), signal: quiet.signal });
    await expect.poll(() => looks).toBeGreaterThan(2);
    expect(await appliedSnapshot(world.databases.west, CUSTOMER, 'east')).toBeNull();
    await other.end();
    expect(await waiting).toMatchObject({ users: 60, held: 0 });
    await addContact('east', await someone('east'), 'new@example');
    await minutesGoBy();
    const second = await world.take('east');
    const again = await comparing();
    expect(await apply(second)).toMatchObject({ users: 60, written: 1 });
    expect((await appliedSnapshot(world.databases.west, CUSTOMER, 'east'))?.seq).toBe(second.seq);
    const provenLately = `select from tandem.applied where proven_at > now() - interval '4 minutes'`;
    expect(await world.sql('west', provenLately)).toHaveLength(0);
    await again.end();
    await apply(second);
    expect(await world.sql('west', provenLately)).toHaveLength(1);
  });

  it('saves a local version that was changed behind its back, sealed, before it is replaced', async () => {
    await apply(await world.take('east'));
    const name = await someone('east');
    await addContact('west', name, 'stray@example');
    const before = await contactsOf('west', name);
    // Right after every row was compared that is not done once more: users of a planned move may be waiting.
    expect(await apply(await world.take('east'))).toMatchObject({ users: 60, written: 0, conflicts: 0 });
    await minutesGoBy();
    expect(await apply(await world.take('east'))).toMatchObject({ written: 1, conflicts: 1, held: 0 });
    expect(await contactsOf('west', name)).toEqual(await contactsOf('east', name));
    const [conflict] = await world.sql('west', 'select username, record from tandem.conflict');
    const bytes = conflict?.['record'] as Buffer;
    expect(bytes.toString('latin1')).not.toContain('stray@example');
    const footer = bytes.readUInt32BE(bytes.length - 4);
    const place = { customer: CUSTOMER, site: 'west', gen: 0 };
    const pack = await openPack(rangesOf(bytes, footer, 'conflict'), world.keys, place, 'k1');
    const [entry] = pack.footer.entries;
    if (!entry) throw new Error('no entry');
    const { username, rows } = await pack.record(entry);
    expect([username, rows.contacts.map(([jid]) => jid)]).toEqual([name, before]);
  });

  it('removes a user only when he is in the ledger, absent from the snapshot and gone from the directory', async () => {
    await apply(await world.take('east'));
    const name = await someone('east');
    await world.sql('east', 'delete from tandem.home where username = $1', [name]);
    expect(await apply(await world.take('east'))).toMatchObject({ users: 59, removed: 0 });
    expect(await contactsOf('west', name)).not.toEqual([]);
    await world.sql('west', 'delete from tandem.home where username = $1', [name]);
    expect(await apply(await world.take('east'))).toMatchObject({ users: 59, removed: 1, conflicts: 0 });
    expect(await contactsOf('west', name)).toEqual([]);
  });

  it('equals the source by plain SQL, writes only what differs, and makes clients read changed rosters again', async () => {
    const copy = await copyRows(world, 'east', 'east');
    const first = await apply(await world.take('east'));
    expect(await differences(world, 'west', 'east', copy)).toBe(0);
    const [counted] = await world.sql(
      'east',
      'select count(*)::int as n from rosterusers r join tandem.served using (username)',
    );
    expect(first).toMatchObject({ users: 60, contacts: counted?.['n'], held: 0, conflicts: 0, removed: 0 });
    const name = await someone('east');
    const other = (
      await world.sql('west', `select username from tandem.home where site = 'east' and username <> $1 limit 1`, [name])
    )[0];
    await world.sql('west', 'insert into roster_version (username, version) values ($1, $3), ($2, $3)', [
      name,
      other?.['username'],
      'v',
    ]);
    await addContact('east', name, 'new@example');
    expect(await apply(await world.take('east'))).toMatchObject({ users: 60, written: 1 });
    expect(await world.sql('west', 'select username from roster_version')).toEqual([other]);
    expect(await differences(world, 'west', 'east', await copyRows(world, 'east', 'east'))).toBe(0);
    // An entry names the snapshot that brought the rows.
    expect(
      await world.sql(
        'west',
        'select seq::int, count(*)::int as users, served_by from tandem.ledger group by 1, 3 order by 1',
      ),
    ).toEqual([
      { seq: 1, users: 59, served_by: 'east' },
      { seq: 2, users: 1, served_by: 'east' },
    ]);
  });
});
