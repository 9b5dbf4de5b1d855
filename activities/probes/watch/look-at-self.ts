import type { Epoch } from '../../../workflows/model/epoch.ts';
import type { Fork } from '../../../workflows/model/watch-news.ts';
import type { ObeyedEpoch } from '../../services/obey.ts';
import { look } from '../observers.ts';
import { epochOf } from './claims.ts';
import type { CustomerEyes, Eyes } from './eyes.ts';
import { ask } from './kept.ts';
import { answerOf, type Answer } from './seen.ts';

/** This site as its own watch finds it. */
export interface Self {
  database: Answer;
  clients: Answer | 'none';
  vault: Answer;
  /** Null when its database is silent, or not that of this customer at this site. */
  epoch: Epoch | null;
  /** Its peer was once seen to hold the very claim that it holds. */
  followed: boolean;
  /** The peer's epoch under which it is closed; null when it is not, or does not say. */
  closedBy: ObeyedEpoch | null;
  /** The fork that it has noted; null when none stands, or its database is silent. */
  fork: Fork | null;
  /** Whether this site serves every half of the customer; false when that is not known. */
  servesAll: boolean;
  /** What its database had lost of a hand-over under this epoch, for people: both sites served them; null when nothing. */
  lostHandOver: string | null;
  /** Halves that are the peer's to serve, as this site's database knows it, in the order of their names. */
  ofPeer: string[];
  /** Why a part gave no answer; null where it did, or nobody looks. */
  failed: { database: string | null; 'client port': string | null };
}

interface OwnRow {
  number: string;
  site: string;
  move: string;
  at: Date;
  service_closed_at: Date | null;
  followed: boolean;
  halves: string;
  of_peer: string[];
  open: string;
  lost: string | null;
  fork: { here_site: string; here_move: string; there_site: string; there_move: string; store: string } | null;
}

const SQL = `
  select e.number, e.site, e.move, coalesce(e.followed = e.number, false) as followed, coalesce(o.at, e.at) as at, o.service_closed_at,
         (select count(*) from tandem.serving s where s.customer = e.customer) as halves,
         array(select s.half from tandem.serving s
                where s.customer = e.customer and s.site <> i.site
                  and (s.half = s.site or exists (select from tandem.home h where h.site = s.half)) order by s.half) as of_peer,
         (select count(*) from tandem.serving s
           where s.customer = e.customer and s.site = i.site and s.epoch = e.number) as open,
         (select string_agg(g.half, ' and ') from tandem.handed g join tandem.salvage d using (customer, half, epoch)
           where g.customer = e.customer and g.epoch = e.number and d.released_at is null) as lost,
         (select to_jsonb(f) from tandem.fork f
           where f.customer = e.customer and f.number = e.number and f.ended_at is null) as fork
    from tandem.epoch e join tandem.identity i on i.customer = e.customer and i.site = $2
    left join tandem.obeyed o on o.customer = e.customer and o.number = e.number
   where e.customer = $1`;

export async function lookAtSelf(eyes: Eyes, own: CustomerEyes, signal: AbortSignal): Promise<Self> {
  const { site } = eyes.settings;
  const { customer } = own;
  let row: OwnRow | null = null as OwnRow | null;
  const eye = async (limit: AbortSignal): Promise<'answers'> => {
    [row = null] = await ask<OwnRow>(own.own, limit, SQL, [customer.id, site]);
    return 'answers';
  };
  const [database, vault, clients] = await Promise.all([
    look('database', site, eye, signal),
    eyes.ownVault(customer, signal),
    eyes.clientsOf(customer, site, signal),
  ]);
  const epoch = epochOf(row);
  const why = (told: typeof clients): string | null =>
    told && answerOf(told.observer) === 'silent' ? (told.because ?? 'no answer') : null;
  const closed = row !== null && epoch?.site === customer.peer && Number(row.open) === 0 ? row : null;
  return {
    database: answerOf(database.observer),
    clients: clients ? answerOf(clients.observer) : 'none',
    vault: answerOf(vault.observer),
    epoch,
    followed: row?.followed === true,
    closedBy:
      epoch && closed
        ? { ...epoch, at: closed.at.toISOString(), serviceClosedAt: closed.service_closed_at?.toISOString() ?? null }
        : null,
    fork: row && epoch ? forkIn(row, epoch) : null,
    ofPeer: row?.of_peer ?? [],
    servesAll: row !== null && Number(row.open) === Number(row.halves) && Number(row.halves) > 0,
    lostHandOver: row?.lost == null ? null : toldLost(row.lost, site, customer.peer),
    failed: { database: why(database), 'client port': why(clients) },
  };
}

const toldLost = (halves: string, site: string, peer: string): string =>
  `${site} had handed ${halves} over to ${peer}, and its database had lost that; it has let go of it again, and what was changed here meanwhile is to be brought together`;

const forkIn = ({ fork }: OwnRow, { number }: Epoch): Fork | null =>
  fork && {
    number,
    here: { site: fork.here_site, move: fork.here_move },
    there: { site: fork.there_site, move: fork.there_move, store: fork.store },
  };
