import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { isCohort } from '../../workflows/model/half.ts';
import { users } from '../../workflows/model/plan-lines.ts';
import type { BroughtTogether, ConflictRule } from '../../workflows/model/planned-move.ts';
import type { CustomerSettings } from '../settings.ts';
import { ruleFor, suspectNote } from './reconciliation.ts';
import { lookInVaults, notSalvagedYet, readPeerSalvages, withoutBase, type PeerSalvage } from './salvage-there.ts';
import type { OwnSite } from './site.ts';

/** Users who are at home here and stay, and whom the peer has served as well: in a fork, whose line was not picked (ops/FORKS.md). */
export interface FoundStayed {
  stayed: BroughtTogether[];
  /** Why the plan must not go on. */
  whys: string[];
  /** What whoever signs should know, and what is no reason not to. */
  notes: string[];
}

export interface AskedStayed {
  /** Whose users move, and all halves of theirs. */
  half: string;
  halves: readonly string[];
  rule: ConflictRule;
}

/**
 * What the peer alone has of users who stay, from every salvage there that nobody has released, oldest first, each with what both sides of
 * it began with. The move of a whole half brings it together; that of a cohort, by which people try on few, is not about all others.
 * Changes nothing.
 */
export async function findStayed(
  site: OwnSite,
  customer: CustomerSettings,
  { half, halves, rule }: AskedStayed,
  signal?: AbortSignal,
): Promise<FoundStayed> {
  const nothing: FoundStayed = { stayed: [], whys: [], notes: [] };
  const { peer } = customer;
  const staying = await atHomeHere(site, customer.id, halves);
  if (staying.size === 0) return nothing;
  try {
    const all = await readPeerSalvages(customer, [...staying.keys()], signal);
    if (isCohort(half)) return { ...nothing, notes: all.map((one) => later(customer, one)) };
    const found: FoundStayed[] = [];
    for (const one of all.toReversed()) found.push(await findOne(site, customer, one, { staying, rule }, signal));
    return {
      stayed: found.flatMap(({ stayed }) => stayed),
      whys: found.flatMap(({ whys }) => whys),
      notes: found.flatMap(({ notes }) => notes),
    };
  } catch (error) {
    signal?.throwIfAborted();
    const told = [...staying.keys()].join(' and ');
    return { ...nothing, whys: [`what ${peer} alone has of ${told} is not known: ${failureText(error)}`] };
  }
}

/** Users by half: of the halves that are at home here and served here, but for those who move. */
async function atHomeHere(site: OwnSite, id: string, moving: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const rows = await site.database(id).query<{ half: string; users: number }>(
    `select s.half, (select count(*)::int from tandem.home h where h.site = s.half) as users
       from tandem.serving s join tandem.epoch e on e.customer = s.customer and e.number = s.epoch
      where s.customer = $1 and s.site = $2 and tandem.home_of(s.half) = $2 and s.half <> all($3) order by s.half`,
    [id, site.settings.site, moving],
  );
  return new Map(rows.map((row) => [row.half, row.users]));
}

const later = ({ peer }: CustomerSettings, { epoch, halves }: PeerSalvage): string =>
  `what ${peer} alone had of ${halves.join(' and ')} under epoch ${epoch} is brought together when the whole half comes home, not by the move of a cohort`;

/** It is there and no good, or it is not there: that will be no better the next time. */
const LOST: readonly unknown[] = ['snapshot-damaged', 'signature-invalid'];

async function findOne(
  site: OwnSite,
  customer: CustomerSettings,
  { epoch, manifest, halves }: PeerSalvage,
  { staying, rule }: { staying: ReadonlyMap<string, number>; rule: ConflictRule },
  signal: AbortSignal | undefined,
): Promise<FoundStayed> {
  const { peer } = customer;
  const told = halves.join(' and ');
  if (manifest === null) return { stayed: [], whys: [notSalvagedYet(customer, { epoch, halves })], notes: [] };
  try {
    const { salvage, began } = await lookInVaults(site, customer, { halves, epoch, manifest }, signal);
    const groups = Map.groupBy(halves, (half) => began.get(half)?.base?.manifest);
    const stayed = [...groups.values()].map((of): BroughtTogether => {
      const [first = ''] = of;
      const base = began.get(first)?.base ?? null;
      return { halves: of, reconcile: { rule: ruleFor(rule, of, peer), salvage: { epoch, manifest }, base } };
    });
    const count = halves.reduce((sum, half) => sum + (staying.get(half) ?? 0), 0);
    const whys = new Set([...began.values()].flatMap(({ why }) => (why === null ? [] : [withoutBase(why)])));
    return {
      stayed,
      whys: [],
      notes: [
        `${users(count)} of ${told} stay, and were served at ${peer} as well, under epoch ${epoch}: what was changed there is brought into their lists`,
        ...(salvage.suspect === null ? [] : [`of ${told}: ${suspectNote(salvage.suspect)}`]),
        ...[...whys].map((why) => `of ${told}: ${why}`),
      ],
    };
  } catch (error) {
    signal?.throwIfAborted();
    // Whoever is to come home is not to wait for ever for what can never be read of others.
    if (LOST.includes(failureKind(error)))
      return {
        stayed: [],
        whys: [],
        notes: [
          `what ${peer} alone had of ${told} under epoch ${epoch} is NOT brought together, and stays there: ${failureText(error)}`,
        ],
      };
    throw error;
  }
}
