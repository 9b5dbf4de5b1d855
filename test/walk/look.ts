import { listSnapshots, coveredSnapshots, type Shelf } from '../../activities/vault/catalog.ts';
import { keyOf, recordKeys } from '../../activities/vault/keys.ts';
import { openSnapshot } from '../../activities/vault/open.ts';
import { count, noCounts } from '../../activities/vault/record.ts';
import { SetHash } from '../../activities/vault/set-hash.ts';
import type { Keyring } from '../../activities/settings.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { sql } from '../rig/sql.ts';

/** All that a database keeps of each user, by plain SQL, so that two states can be compared user by user. */
export async function usersOf(url: string): Promise<Map<string, string>> {
  const rows = await sql<{ username: string; state: string }>(
    url,
    `with who as (select username from users union select username from tandem.ledger union select username from tandem.home)
     select w.username, md5(json_build_array(
       (select json_agg(to_jsonb(r) - 'created_at' order by jid) from rosterusers r where r.username = w.username),
       (select json_agg(to_jsonb(g) order by jid, grp) from rostergroups g where g.username = w.username),
       (select json_agg(p.name order by name) from privacy_list p where p.username = w.username),
       (select json_agg(json_build_array(p.name, to_jsonb(d) - 'id') order by p.name, (to_jsonb(d) - 'id')::text)
          from privacy_list p join privacy_list_data d using (id) where p.username = w.username),
       (select json_agg(p.name) from privacy_default_list p where p.username = w.username),
       (select json_agg(v.version) from roster_version v where v.username = w.username),
       (select json_agg(c.because) from tandem.conflict c where c.username = w.username)
     )::text) || ' ' || coalesce((select json_build_array(served_by, gen, seq, epoch, record_id, digest)::text
        from tandem.ledger l where l.username = w.username), 'not in the ledger') as state
     from who w order by 1`,
  );
  return new Map(rows.map(({ username, state }) => [username, state]));
}

/** Users who stand neither as before nor as after: half written, or with a ledger that speaks of other rows. */
export function halfWritten(
  now: ReadonlyMap<string, string>,
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): string[] {
  const names = new Set([...now.keys(), ...before.keys(), ...after.keys()]);
  return [...names].filter((name) => ![before.get(name), after.get(name)].includes(now.get(name)));
}

/**
 * Opens every byte of every snapshot that is listed, and those that a receipt covers. Answers with the newest, as the id
 * of each user's record.
 */
export async function openAll(
  shelf: Shelf,
  keys: Keyring,
  coveredBy: string,
): Promise<{ newest: SnapshotSummary | null; records: Map<string, string> }> {
  const { snapshots, faults } = await listSnapshots(shelf);
  if (faults.length > 0) throw new Error(`listed, and no snapshot: ${faults.map((f) => f.because).join('; ')}`);
  let records = new Map<string, string>();
  for (const summary of snapshots.toReversed()) records = await openWhole(shelf, keys, summary);
  for await (const { summary } of coveredSnapshots(shelf, coveredBy)) {
    if (!snapshots.some(({ manifest }) => manifest === summary.manifest))
      throw new Error(`number ${summary.seq} is covered and not listed`);
  }
  return { newest: snapshots[0] ?? null, records };
}

async function openWhole(shelf: Shelf, keys: Keyring, summary: SnapshotSummary): Promise<Map<string, string>> {
  const opened = await openSnapshot({ ...shelf, keys, id: summary });
  const { userKey } = recordKeys(keyOf(keys, keys.current, 'walk'));
  const set = new SetHash();
  const counts = noCounts();
  const records = new Map<string, string>();
  for await (const record of opened.records()) {
    set.add(userKey(record.username), record.recordId);
    count(counts, record.bytes);
    records.set(record.username, record.recordId.toString('hex'));
  }
  const { manifest } = opened;
  if (set.toString() !== manifest.setHash || canonicalJson(counts) !== canonicalJson(manifest.counts))
    throw new Error(`number ${summary.seq} is listed, and does not hold what its manifest says`);
  return records;
}
