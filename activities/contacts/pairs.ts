import type { PoolClient } from 'pg';

/**
 * Finds users whose contact lists contradict each other. What one side says of a pair is four bits: `to`, `from`, and
 * unless he has them already, asked `out` and asked `in`. Seen from the other side each stands for the next (RFC 6121, A.2),
 * and no row is none of them.
 */

export interface Halves {
  domain: string;
  /** Whose users were restored. */
  lost: readonly string[];
  /** Whose users were served on. */
  current: readonly string[];
}

/** A pair whose sides disagree. */
export interface Pair {
  /** The restored user, and the other one. */
  who: string;
  other: string;
  /** Whether each has a row for the other. */
  has: boolean;
  had: boolean;
  /** What the restored side says, and what it would have to say by the other. */
  state: number;
  target: number;
}

export interface Found {
  pairs: number;
  disagreed: number;
  /** Of these, where one side has no row at all. */
  oneSided: number;
  within: number;
  elsewhere: number;
}

/** For a reading of all rows. What else a transaction of ours does needs no more. */
const MEMORY = '64MB';

const bits = `(case r.subscription when 'T' then 1 when 'F' then 2 when 'B' then 3 else 0 end)`;
const asks = `(case r.ask when 'O' then 4 when 'I' then 8 when 'B' then 12 else 0 end)`;
const STATE = `(${bits} | (${asks} & ~(${bits} << 2)))`;
const mirrored = (state: string): string => `(((${state} & 5) << 1) | ((${state} & 10) >> 1))`;

/**
 * Compares both sides of all pairs with a restored user. Rows of both halves are read once, and each user's are put into one
 * number: only where those of the two sides differ, pairs are looked at. The temporary table `disagreement` then holds
 * those of a restored and a current user, until the transaction ends.
 */
export async function findDisagreements(client: PoolClient, halves: Halves): Promise<Found> {
  await client.query(`set local work_mem = '${MEMORY}'; set local jit = off`);
  // Each row once, and whose it is from memory: by index it would take ten times as long.
  await client.query('set local enable_nestloop = off; set local enable_mergejoin = off');
  const restored = await numberPeople(client, halves);
  const agreeing = await addUp(client, restored, halves.domain);
  await client.query('set local enable_nestloop = on; set local enable_mergejoin = on');
  await makeTable(client);
  const { rows } = await client.query<Record<'pairs' | 'disagreed' | 'one' | 'within', string>>(LOOK, [restored]);
  await client.query('create index on disagreement (who, other); analyze disagreement; reset work_mem; reset jit');
  const { pairs = 0, disagreed = 0, one = 0, within = 0 } = rows[0] ?? {};
  return {
    pairs: Number(pairs) + agreeing.pairs,
    disagreed: Number(disagreed),
    oneSided: Number(one),
    within: Number(within),
    elsewhere: agreeing.elsewhere,
  };
}

const makeTable = (client: PoolClient): Promise<unknown> =>
  client.query(`drop table if exists pg_temp.disagreement;
    create temp table disagreement (who text not null, other text not null, has boolean not null,
    had boolean not null, state integer not null, target integer not null) on commit drop`);

/**
 * Leaves in `disagreement` the pairs whose contact was changed by the reconciliation with a salvage, and which nobody has
 * looked at since: users of one half with others who are known here. Of two of the half both directions are there, and the
 * target is what both say.
 */
export async function findTouched(
  client: PoolClient,
  { domain, lost }: Pick<Halves, 'domain' | 'lost'>,
  salvage: string,
): Promise<void> {
  await makeTable(client);
  await client.query(TOUCHED, [salvage, lost, `@${domain}`]);
}

const TOUCHED = `
  with touched as (
    select distinct r.username as who, h.username as other, h.site = any($2) as within
      from tandem.reconciled r
     cross join lateral jsonb_array_elements_text(r.document -> 'touched') t (jid)
      join tandem.home h on h.username = left(t.jid, -length($3))
     where r.salvage = $1 and r.mended_at is null and right(t.jid, length($3)) = $3 and h.username <> r.username
  ), pair as (
    select who, other, within from touched union select other, who, true from touched where within
  ), said as (
    select p.who, p.other, p.within, r.jid is not null as has, o.jid is not null as had,
           coalesce(${STATE}, 0) as state, coalesce(o.said, 0) as target
      from pair p
      left join rosterusers r on r.username = p.who and r.jid = p.other || $3
      left join lateral (select r.jid, ${mirrored(STATE)} as said from rosterusers r
                          where r.username = p.other and r.jid = p.who || $3) o on true
  )
  insert into disagreement
  select who, other, has, had, state, case when within then state & target else target end
    from said where state <> case when within then state & target else target end`;

/** Restored users have the lower numbers. Answers how many they are. */
async function numberPeople(client: PoolClient, { domain, lost, current }: Halves): Promise<number> {
  await client.query(
    'create temp table people (id integer generated always as identity, username text not null, jid text not null) on commit drop',
  );
  await client.query(
    `insert into people (username, jid)
     select username, username || '@' || $1::text from tandem.home where site = any($2) or site = any($3) order by not site = any($2)`,
    [domain, lost, current],
  );
  await client.query('analyze people');
  const { rows } = await client.query<{ n: number }>(
    'select count(*)::int as n from tandem.home where site = any($1)',
    [lost],
  );
  return rows[0]?.n ?? 0;
}

/**
 * Leaves in `side` the restored users who are of a pair that disagrees: in `others` the sum over current users is not
 * nothing, in `own` the one over restored users. Both sides of a pair count for the lower number, and add the same when they
 * agree: together they are nothing. A user has no two rows of one contact.
 */
async function addUp(
  client: PoolClient,
  restored: number,
  domain: string,
): Promise<Pick<Found, 'pairs' | 'elsewhere'>> {
  await client.query(
    'create temp table side (who integer, pairs bigint, elsewhere bigint, others bigint, own bigint) on commit drop',
  );
  await client.query(
    `insert into side
     select who, count(*) filter (where mine and other > $1), count(*) filter (where other is null and outside),
            coalesce(bit_xor(said) filter (where other > $1), 0), coalesce(bit_xor(said) filter (where other <= $1), 0)
       from (select least(o.id, c.id) as who, case when o.id <> c.id then greatest(o.id, c.id) end as other, o.id < c.id as mine,
                    c.id is null and right(r.jid, length($2) + 1) <> '@' || $2 as outside,
                    hashint8extended(greatest(o.id, c.id), case when o.id < c.id then s.state else ${mirrored('s.state')} end) as said
               from rosterusers r
               join people o on o.username = r.username
               left join people c on c.jid = r.jid
              cross join lateral (select ${STATE} as state) s
              where (o.id <= $1 or c.id <= $1) and s.state <> 0) rows
      group by who`,
    [restored, domain],
  );
  const { rows } = await client.query<{ pairs: string; elsewhere: string }>(
    `select coalesce(sum(pairs) filter (where others = 0), 0) as pairs, coalesce(sum(elsewhere), 0) as elsewhere from side`,
  );
  await client.query('delete from side where others = 0 and own = 0; analyze side');
  return { pairs: Number(rows[0]?.pairs), elsewhere: Number(rows[0]?.elsewhere) };
}

const LOOK = `
  with apart as (
    select p.id, p.username, p.jid, s.others <> 0 as others, s.own <> 0 as own from side s join people p on p.id = s.who
  ), mine as (
    select d.id as who, c.id as other, ${STATE} as state
      from apart d join rosterusers r on r.username = d.username join people c on c.jid = r.jid
     where c.id > d.id and case when c.id > $1 then d.others else d.own end
  ), theirs as (
    select d.id as who, o.id as other, ${mirrored(STATE)} as target
      from apart d join rosterusers r on r.jid = d.jid join people o on o.username = r.username
     where o.id > d.id and case when o.id > $1 then d.others else d.own end
  ), pair as materialized (
    select who, other, other <= $1 as within, coalesce(state, 0) as state, coalesce(target, 0) as target,
           state is not null as has, target is not null as had
      from mine full join theirs using (who, other)
  ), kept as (
    insert into disagreement
    select w.username, o.username, has, had, state, target
      from pair join people w on w.id = who join people o on o.id = other
     where not within and state <> target
  )
  select count(*) filter (where not within and (state | target) <> 0) as pairs,
         count(*) filter (where not within and state <> target) as disagreed,
         count(*) filter (where not within and state <> target and not (has and had)) as one,
         count(*) filter (where within and state <> target) as within
    from pair`;
