import { hash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Shelf } from '../../activities/vault/catalog.ts';
import { readReceipt } from '../../activities/vault/catalog.ts';
import type { JobName } from '../../activities/mover/messages.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import type { Site } from '../rig/databases.ts';
import { sql } from '../rig/sql.ts';
import { objectsOf, type Bucket } from './ground.ts';
import { openAll, usersOf } from './look.ts';
import { CUSTOMER, idOf, MOVE, planOf, type Story } from './story.ts';

/** What a try leaves, to be looked at past every proxy. */
export interface Left {
  database: string;
  own: Bucket;
  /** Snapshots of east in the vault of the job's site. */
  shelf: Shelf;
  story: Story;
}

/** A job of the data mover that is walked through. A further one is one more entry. */
export interface WalkedJob {
  name: string;
  job: JobName;
  site: Site;
  /** The file of its process, where it is not the data mover's own. */
  main?: string;
  /** The moment of the story in which it begins. */
  stage: keyof Story['stages'];
  input: (story: Story) => unknown;
  /** What must be the same after a killed and a repeated run as after one that nothing disturbed. */
  end: (left: Left) => Promise<string>;
}

export const jobs: readonly WalkedJob[] = [
  {
    name: 'snapshot-first',
    job: 'take-snapshot',
    site: 'east',
    stage: 'first',
    input: () => ({ customer: CUSTOMER }),
    end: snapshotEnd,
  },
  {
    name: 'snapshot-all',
    job: 'take-snapshot',
    site: 'east',
    stage: 'changed',
    input: () => ({ customer: CUSTOMER, read: 'all' }),
    end: snapshotEnd,
  },
  {
    name: 'snapshot-changes',
    job: 'take-snapshot',
    site: 'east',
    stage: 'changed',
    input: () => ({ customer: CUSTOMER, read: 'changes' }),
    end: snapshotEnd,
  },
  {
    name: 'pull',
    job: 'pull-snapshots',
    site: 'west',
    stage: 'unpulled',
    input: () => ({ customer: CUSTOMER }),
    end: async ({ own, database }) => canonicalJson({ ...(await hashesOf(own)), marks: await marksOf(database) }),
  },
  {
    name: 'verify',
    job: 'verify-snapshot',
    site: 'west',
    stage: 'unverified',
    input: ({ taken }) => ({ snapshot: idOf(taken.second) }),
    end: async ({ own, shelf, story }) => {
      const receipt = await readReceipt(shelf, 'west', story.taken.second);
      return canonicalJson({ keys: Object.keys(await hashesOf(own)), ...receipt, verifiedAt: '' });
    },
  },
  {
    name: 'held',
    job: 'verify-held',
    site: 'west',
    stage: 'unapplied',
    input: () => ({ customer: CUSTOMER }),
    // Each run leaves a check of its own time.
    end: async ({ own, database }) =>
      canonicalJson({
        keys: Object.keys(await hashesOf(own)).filter((key) => !key.includes('/checks/')),
        opened: await sql(database, 'select site, gen::int, pack, because from tandem.opened order by 1, 2, 3'),
      }),
  },
  {
    name: 'standby',
    job: 'apply-standby',
    site: 'west',
    stage: 'unapplied',
    input: ({ taken }) => ({ snapshot: idOf(taken.second) }),
    end: rowsEnd,
  },
  {
    name: 'retention',
    job: 'delete-expired',
    main: fileURLToPath(new URL('late.ts', import.meta.url)),
    site: 'west',
    stage: 'expired',
    input: () => ({ customer: CUSTOMER }),
    end: async ({ own }) => canonicalJson(await hashesOf(own)),
  },
  {
    name: 'restore',
    job: 'restore-contacts',
    site: 'west',
    stage: 'moving',
    input: ({ taken }) => ({
      key: {
        customer: CUSTOMER,
        epoch: { number: 2, site: 'west', move: MOVE },
        step: 'restore-contacts',
        round: 0,
      },
      act: 'restore-contacts',
      plan: planOf(taken.second).digest,
    }),
    end: rowsEnd,
  },
];

/**
 * A killed snapshot may stand all the same, and the next one then has the next number: what counts is that the newest
 * holds the users as they are, and that the ledger speaks of it.
 */
async function snapshotEnd({ database, shelf, story }: Left): Promise<string> {
  const { newest, records } = await openAll(shelf, story.keys, 'west');
  const [head] = await sql<{ manifest: string; seq: string }>(
    database,
    'select manifest, (select max(seq) from tandem.high_water)::text as seq from tandem.taken',
  );
  const ledger = await sql<{ username: string; id: string; digest: string }>(
    database,
    `select username, encode(record_id, 'hex') as id, encode(digest, 'hex') as digest from tandem.ledger order by 1`,
  );
  return canonicalJson({
    records: Object.fromEntries(records),
    counts: newest?.counts,
    ledger,
    headIsNewest: newest !== null && head?.manifest === newest.manifest && Number(head.seq) === newest.seq,
  });
}

/** Every user with all that is kept of him, and what says that the work is done. */
async function rowsEnd({ database }: Left): Promise<string> {
  const done = await sql(
    database,
    `select (select json_agg(to_jsonb(a) - 'at' - 'proven_at') from tandem.applied a) as applied,
            (select json_agg(j.key order by seq) from tandem.journal j) as journal,
            (select json_agg(to_jsonb(s) - 'at' order by half) from tandem.serving s) as serving`,
  );
  return canonicalJson({ users: Object.fromEntries(await usersOf(database)), done, marks: await marksOf(database) });
}

async function marksOf(database: string): Promise<unknown> {
  return sql(database, 'select customer, site, gen::int, seq::int from tandem.high_water order by site');
}

async function hashesOf(own: Bucket): Promise<Record<string, string>> {
  return Object.fromEntries([...(await objectsOf(own))].map(([key, bytes]) => [key, hash('sha256', bytes)]));
}
