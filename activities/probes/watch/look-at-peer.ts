import type { Epoch } from '../../../workflows/model/epoch.ts';
import { WITNESS_OBSERVER } from '../../../workflows/model/verdict.ts';
import type { PeerHalf } from '../../../workflows/model/opening.ts';
import type { PeerClaim } from '../../services/obey.ts';
import type { ObservedRow } from '../../services/peer-rights.ts';
import { look, OBSERVER_LIMIT_MS, type Told } from '../observers.ts';
import { peerQuery } from '../peer.ts';
import { claimInDatabase, claimInVault, claimInWitness, claimInZone, epochOf } from './claims.ts';
import type { CustomerEyes, Eyes } from './eyes.ts';
import { answerOf, type Answer } from './seen.ts';

/** A peer as one look found it. */
export interface Peer {
  told: Told[];
  /** Its claims were read in its vault, this time. */
  vaultRead: boolean;
  /** As it was looked at last: buckets are read less often while the database says that nothing is new. */
  vault: Told;
  database: Answer;
  rows: PeerHalf[] | null;
  epoch: Epoch | null;
  clients: Answer | 'none';
  /** Claims of the peer in stores that this site believes. */
  claims: PeerClaim[];
  zone: Epoch | null;
  witness: Answer | 'none';
}

const SQL = 'select customer, half, site, epoch, newest, claimed_by, move, open from tandem.observe()';

/** How this look goes about it. */
export interface Manner {
  /** This site's own epoch: claims below it are history. */
  least: number;
  /** What the vault was found to be, where the claims in buckets are left unread this once; null: they are read. */
  spared: Told | null;
}

/** All its observers at once, each with a limit of its own. */
export async function lookAtPeer(
  eyes: Eyes,
  own: CustomerEyes,
  { least, spared }: Manner,
  signal: AbortSignal,
): Promise<Peer> {
  const { customer } = own;
  const { peer } = customer;
  const { witness } = eyes.settings;
  const claims: PeerClaim[] = [];
  const note = (claim: PeerClaim | null): void => void (claim && claims.push(claim));
  let rows: ObservedRow[] = [];
  const inDatabase = async (limit: AbortSignal): Promise<'serving' | 'closed'> => {
    rows = await observedRows(own, limit);
    return rows.some((r) => r.open) ? 'serving' : 'closed';
  };
  const inVault = async (limit: AbortSignal): Promise<'answers'> => {
    note(await claimInVault(eyes, own, least, limit));
    return 'answers';
  };
  const inWitness = async (limit: AbortSignal): Promise<'answers'> => {
    if (witness) note(await claimInWitness(eyes, own, witness, { least, signal: limit }));
    return 'answers';
  };
  const unread = spared !== null || !witness;
  const [database, looked, claimed, beats, clients, zone, ...others] = await Promise.all([
    look('database', peer, inDatabase, signal),
    spared ?? look('vault', peer, inVault, signal),
    unread ? null : look(WITNESS_OBSERVER, peer, inWitness, signal),
    witness ? eyes.beatsOf(peer, witness, signal) : null,
    eyes.clientsOf(customer, peer, signal),
    claimInZone(own, signal),
    eyes.temporalOf(peer, signal),
    ...eyes.apiOf(customer, peer, signal),
  ]);
  // What was not looked at, says nothing, once the database is silent that vouched for it.
  const silent = answerOf(database.observer) === 'silent';
  const vault =
    spared && silent ? { observer: { name: 'vault', saw: 'unknown' as const }, because: 'left unread' } : looked;
  const told = [database, vault, ...others, ...(clients ? [clients] : [])];
  if (beats) told.push({ observer: { name: WITNESS_OBSERVER, saw: beats.saw }, because: beats.because });
  const [first] = rows;
  const epoch = first ? epochOf({ number: first.newest, site: first.claimed_by, move: first.move }) : null;
  if (epoch?.site === peer) note(await claimInDatabase(own, epoch, least, signal));
  const answers = beats?.answers === true || (claimed !== null && answerOf(claimed.observer) === 'answers');
  return {
    told,
    vaultRead: spared === null && looked.observer.saw === 'answers',
    vault: looked,
    database: silent ? 'silent' : 'answers',
    rows:
      rows.length > 0 ? rows.map((r) => ({ half: r.half, site: r.site, epoch: Number(r.epoch), open: r.open })) : null,
    epoch,
    clients: clients ? answerOf(clients.observer) : 'none',
    claims,
    zone,
    // Its claims and its beats are read apart: one answer shows that this site is not cut off from it.
    witness: !witness ? 'none' : answers ? 'answers' : 'silent',
  };
}

/**
 * On a connection of its own each time: the role that looks at a peer may have few there, on a server of many customers, and
 * whoever fences it must find one free.
 */
async function observedRows({ customer }: CustomerEyes, signal: AbortSignal): Promise<ObservedRow[]> {
  const rows = await peerQuery<ObservedRow>(customer.peerDatabaseUrl, OBSERVER_LIMIT_MS, SQL, [], signal);
  const ours = rows.filter((row) => row.customer === customer.id);
  // Nobody is closed because somebody else's database says nothing of him.
  if (rows.length > 0 && ours.length === 0)
    throw Object.assign(new Error('the database is that of another customer'), { code: '42501' });
  return ours;
}
