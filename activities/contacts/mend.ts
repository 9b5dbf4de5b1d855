import type { PoolClient } from 'pg';
import type { PairCounts } from '../../workflows/model/subscriptions.ts';
import type { Keyring } from '../settings.ts';
import type { Row } from '../vault/record.ts';
import { denies } from './deny.ts';
import { digestsOfLedger, digestUsers, type Digests } from './digests.ts';
import { noteMended, type Mended } from './mended.ts';
import { findDisagreements, findTouched, type Found, type Halves, type Pair } from './pairs.ts';
import { readContacts, readItems } from './rows.ts';
import { forgetRosterVersions, lockWrites } from './writer.ts';

export interface MendRequest extends Halves {
  customer: string;
  /** As many contacts a user may have. */
  limit: number;
  keys: Keyring;
  heartbeat: (progress: { mended: number }) => void;
  signal: AbortSignal;
}

/** Pairs that are mended in one statement. */
const BATCH_PAIRS = 500;
/**
 * In the hours that a snapshot is old few people remove or add a contact. Where more pairs than these stand on one side
 * only, the service's lists were never kept on both, or one of the tables is not what it should be.
 */
const MOST_ONE_SIDED = { pairs: 100, share: 0.05 };

/**
 * Brings the contacts of restored users to what those say whom the survivor served on: subscriptions, and requests that
 * wait. Only the restored side is written, and never is a contact removed, something granted past a block or privacy list
 * of either, or a contact added beyond the limit. A second run finds nothing to mend. To be called in the transaction that
 * tells of it, after the epoch was locked.
 */
export async function mendSubscriptions(client: PoolClient, request: MendRequest): Promise<PairCounts> {
  await lockWrites(client, request.customer);
  const found = await findDisagreements(client, request);
  const tooMany = found.oneSided > Math.max(MOST_ONE_SIDED.pairs, MOST_ONE_SIDED.share * found.pairs);
  const digests = found.disagreed > 0 ? await digestsOfLedger(client, request.keys, request.lost) : null;
  return countsOf(found, await mendFound(client, { ...request, restored: true, digests }, tooMany), tooMany);
}

/**
 * The same for pairs of users who are served here, after rows of one of them were brought from the salvage `of`: where the
 * other one is of another half, he says what stands; of two of this half each keeps what both say. Their rows are ahead of
 * the ledger, as any that a user changes: the next snapshot reads them.
 */
export async function mendTouched(
  client: PoolClient,
  request: Omit<MendRequest, 'keys' | 'current'>,
  of: string,
): Promise<Record<Fate, number>> {
  await lockWrites(client, request.customer);
  await findTouched(client, request, of);
  return mendFound(client, { ...request, restored: false, digests: null }, false);
}

async function mendFound(client: PoolClient, work: Work, twoSided: boolean): Promise<Record<Fate, number>> {
  const fates: Record<Fate, number> = { mended: 0, blocked: 0, full: 0 };
  let after: Pick<Pair, 'who' | 'other'> = { who: '', other: '' };
  for (;;) {
    work.signal.throwIfAborted();
    const pairs = await nextPairs(client, after, twoSided);
    const last = pairs.at(-1);
    if (!last) return fates;
    for (const { fate } of await mendPairs(client, work, pairs)) fates[fate] += 1;
    after = last;
    work.heartbeat({ mended: fates.mended });
  }
}

function countsOf(found: Found, fates: Record<Fate, number>, tooMany: boolean): PairCounts {
  return {
    pairs: found.pairs,
    pairsDisagreed: found.disagreed,
    pairsMended: fates.mended,
    pairsBlocked: fates.blocked,
    pairsOverLimit: fates.full,
    pairsOneSided: tooMany ? found.oneSided : 0,
    pairsWithin: found.within,
    pairsElsewhere: found.elsewhere,
  };
}

async function nextPairs(
  client: PoolClient,
  { who, other }: Pick<Pair, 'who' | 'other'>,
  twoSided: boolean,
): Promise<Pair[]> {
  const { rows } = await client.query<Pair>(
    `select * from disagreement where (who, other) > ($1, $2) ${twoSided ? 'and has and had' : ''}
      order by who, other limit ${BATCH_PAIRS}`,
    [who, other],
  );
  return rows;
}

type Fate = 'mended' | 'blocked' | 'full';

/** What becomes of a pair; `to` is what the restored side is to say. */
interface Verdict {
  pair: Pair;
  fate: Fate;
  to: number;
}

type Work = Omit<MendRequest, 'keys' | 'current'> & {
  /** What is written are rows of a record that the ledger names, and is noted beside it. */
  restored: boolean;
  digests: Digests | null;
};

async function mendPairs(client: PoolClient, request: Work, pairs: readonly Pair[]): Promise<Verdict[]> {
  const denied = await deniedOf(client, request.domain, pairs);
  const room = await roomOf(client, request.limit, pairs.filter(grows));
  const verdicts = pairs.map((pair): Verdict => {
    const less = pair.state & pair.target;
    if (pair.target !== less && denied.has(pair)) return { pair, fate: 'blocked', to: less };
    if (!grows(pair)) return { pair, fate: 'mended', to: pair.target };
    const left = room.get(pair.who) ?? 0;
    room.set(pair.who, left - 1);
    return left > 0 ? { pair, fate: 'mended', to: pair.target } : { pair, fate: 'full', to: pair.state };
  });
  await write(
    client,
    request,
    verdicts.filter(({ pair, to }) => to !== pair.state),
  );
  return verdicts;
}

/** A request that waits for its answer is no contact yet. */
const INCOMING = 8;
/** Whether the restored user would have a contact more. */
const grows = ({ has, state, target }: Pair): boolean =>
  target !== INCOMING && (!has || state === INCOMING) && target !== 0;

async function roomOf(client: PoolClient, limit: number, pairs: readonly Pair[]): Promise<Map<string, number>> {
  if (pairs.length === 0) return new Map();
  const { rows } = await client.query<{ username: string; room: number }>(
    `select u.username, ($2 - count(r.jid) filter (where not (r.subscription = 'N' and r.ask = 'I')))::int as room
       from unnest($1::text[]) u (username) left join rosterusers r using (username) group by 1`,
    [[...new Set(pairs.map(({ who }) => who))], limit],
  );
  return new Map(rows.map(({ username, room }) => [username, room]));
}

/** Of the pairs that would be granted something, those to which one side denies something. */
async function deniedOf(client: PoolClient, domain: string, pairs: readonly Pair[]): Promise<Set<Pair>> {
  const asked = pairs.filter(({ state, target }) => (target & ~state) !== 0);
  if (asked.length === 0) return new Set();
  const sides = asked.flatMap(({ who, other }) => [
    { owner: who, contact: other },
    { owner: other, contact: who },
  ]);
  const owners = [...new Set(sides.map(({ owner }) => owner))];
  const items = await readItems(client, owners);
  const groups = await groupsOf(client, domain, sides);
  // Whose lists could not be read is not let in until an operator says so: nobody knows whom he denies.
  const { rows: held } = await client.query<{ username: string }>(
    'select username from tandem.quarantine where username = any($1)',
    [owners],
  );
  const unread = new Set(held.map(({ username }) => username));
  const does = (owner: string, contact: string, states: number[]): boolean =>
    unread.has(owner) ||
    denies(
      {
        items: items.get(owner) ?? [],
        groups: groups.get(keyOf(owner, contact)) ?? [],
        subscriptions: states.map(subscriptionOf),
      },
      contact,
      domain,
    );
  return new Set(
    asked.filter(
      ({ who, other, state, target }) => does(who, other, [state, target]) || does(other, who, [mirrored(target)]),
    ),
  );
}

const keyOf = (owner: string, contact: string): string => JSON.stringify([owner, contact]);
const mirrored = (state: number): number => ((state & 5) << 1) | ((state & 10) >> 1);
const subscriptionOf = (state: number): string => ['N', 'T', 'F', 'B'][state & 3] ?? 'N';
const askOf = (state: number): string => ['N', 'O', 'I', 'B'][state >> 2] ?? 'N';

async function groupsOf(
  client: PoolClient,
  domain: string,
  sides: readonly { owner: string; contact: string }[],
): Promise<Map<string, string[]>> {
  const { rows } = await client.query<{ owner: string; contact: string; groups: string[] }>(
    `select s.owner, s.contact, array_agg(g.grp) as groups
       from unnest($1::text[], $2::text[]) s (owner, contact)
       join rostergroups g on g.username = s.owner and g.jid = s.contact || '@' || $3::text group by 1, 2`,
    [sides.map(({ owner }) => owner), sides.map(({ contact }) => contact), domain],
  );
  return new Map(rows.map(({ owner, contact, groups }) => [keyOf(owner, contact), groups]));
}

/** Writes rows, and what they were: the ledger still vouches for users whose rows it vouched for. */
async function write(
  client: PoolClient,
  { domain, digests, restored }: Work,
  verdicts: readonly Verdict[],
): Promise<void> {
  if (verdicts.length === 0) return;
  const names = [...new Set(verdicts.map(({ pair }) => pair.who))];
  const places = verdicts.map(({ pair }) => ({ username: pair.who, jid: `${pair.other}@${domain}` }));
  const digest = async (): Promise<Map<string, Buffer>> => (digests ? digestUsers(client, digests, names) : new Map());
  const [vouched, before] = [await digest(), await readContacts(client, places)];
  await client.query(WRITE, [
    places.map(({ username }) => username),
    places.map(({ jid }) => jid),
    verdicts.map(({ to }) => subscriptionOf(to)),
    verdicts.map(({ to }) => askOf(to)),
  ]);
  if (!restored) return forgetRosterVersions(client, names);
  const [now, after] = [await digest(), await readContacts(client, places)];
  await noteMended(
    client,
    places.map((place): Mended => {
      const of = (rows: ReadonlyMap<string, Row>): Row | null => rows.get(keyOf(place.username, place.jid)) ?? null;
      return { ...place, before: of(before), after: of(after) };
    }),
  );
  await client.query(
    `update tandem.ledger l set digest = u.now, rows = null from unnest($1::text[], $2::bytea[], $3::bytea[]) u (username, vouched, now)
      where l.username = u.username and l.digest = u.vouched`,
    [[...now.keys()], [...now.keys()].map((name) => vouched.get(name)), [...now.values()]],
  );
  await forgetRosterVersions(client, names);
}

/**
 * As ejabberd itself writes these rows (mod_roster: process_subscription_t): the text of a request goes with it, and so
 * does the row of a stranger who takes back his own. A row with a name or a group is a contact, and stays.
 */
const WRITE = `
  with mend as (
    select * from unnest($1::text[], $2::text[], $3::text[], $4::text[]) m (username, jid, subscription, ask)
  ), gone as (
    delete from rosterusers r using mend m
     where r.username = m.username and r.jid = m.jid and m.subscription = 'N' and m.ask = 'N'
       and r.subscription = 'N' and r.ask = 'I' and r.nick = ''
       and not exists (select from rostergroups g where g.username = r.username and g.jid = r.jid)
    returning r.username, r.jid
  ), changed as (
    update rosterusers r
       set subscription = m.subscription, ask = m.ask,
           askmessage = case when m.ask in ('I', 'B') and r.ask in ('I', 'B') then r.askmessage else '' end
      from mend m
     where r.username = m.username and r.jid = m.jid and (r.username, r.jid) not in (select username, jid from gone)
    returning r.username, r.jid
  )
  insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
  select username, jid, '', subscription, ask, '', 'N', '', 'item' from mend
   where (username, jid) not in (select username, jid from gone union all select username, jid from changed)`;
