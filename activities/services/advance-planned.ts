import type { PoolClient } from 'pg';
import { compareEpoch, type Claim, type Epoch } from '../../workflows/model/epoch.ts';
import { homeOf } from '../../workflows/model/half.ts';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import type { PeerRights } from '../../workflows/model/opening.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import type { PlannedMove } from '../../workflows/model/planned-move.ts';
import { goesAlong, knowsItsRights, servesBy, type Right } from '../../workflows/model/rights.ts';
import { observeSource } from '../probes/source.ts';
import { lockEpoch } from '../contacts/restore.ts';
import type { CustomerSettings } from '../settings.ts';
import { claimInStores, noteClaims, plannedClaim, type StoreClaim } from './claims.ts';
import { shareCohorts } from './cohorts.ts';
import { doneBefore, noteEffect, refuseEnded } from './effects.ts';
import { refuseForked } from './fork.ts';
import { followAtPeer } from './peer-functions.ts';
import { askPeerRights } from './peer-rights.ts';
import type { PlannedStep } from './planned.ts';
import type { OwnSite } from './site.ts';
import { claimedInWitness, newerThanHeld, refuseNewerPeer, takeEpoch, whereClaimed } from './take-epoch.ts';

interface World {
  peer: PeerRights;
  /** The newest number that the peer has claimed, wherever that was read. */
  claimedByPeer: number;
}

interface Taken {
  claim: Claim;
  claims: StoreClaim[];
  /** Halves that this site goes on serving. */
  kept: number;
  before: number;
}

/**
 * Claims the epoch of a planned move at the site where its users are. Nobody is closed by it: what this site serves goes along in
 * its own database, and the claim says which halves the destination goes on serving (`keeps`), and under which epoch it follows
 * on. The destination has to be there, with the very rights that this site knows of; it is then told in its own database. When
 * that does not get through, its watch reads the claim.
 */
export async function advancePlanned(
  site: OwnSite,
  input: PlannedStep,
  planned: PlannedMove,
  signal?: AbortSignal,
): Promise<StepResult> {
  const { epoch, customer: id } = input.key;
  const customer = site.customer(id);
  const database = site.database(id);
  const done = await doneBefore(database, input);
  if (done) return done;
  await database.connection((client) => refuseForked(client, id));
  const [seen, inWitness, peer] = await Promise.all([
    observeSource(site.settings, customer, signal),
    claimedInWitness(site, customer, signal),
    askPeerRights(customer, database, signal),
  ]);
  refuseNewerPeer(customer, seen, epoch);
  const byPeer = peer.state === 'says' && peer.epoch.site === customer.peer ? peer.epoch.number : 0;
  // Nothing has been claimed: who is in which half is the same at both sites, or nobody moves.
  await shareCohorts(site, customer, homeOf(planned.half), signal);
  const world = { peer, claimedByPeer: Math.max(byPeer, seen.claimed, inWitness) };
  const { claim, claims, kept, before } = await claimAndTake(site, input, planned, world, signal);
  const untold = await tellPeer(customer, claim, signal);
  const where = whereClaimed(claims, epoch);
  const alarms = untold === null ? where.alarms : [...where.alarms, untold];
  return database.transaction(async (client) => {
    await lockEpoch(client, database.name, id, epoch);
    return noteEffect(client, input, {
      summary: `epoch ${epoch.number} is claimed in ${where.claimedIn}${where.not}; ${customer.peer} ${untold === null ? 'follows' : 'has not followed yet'}`,
      facts: {
        epoch: epoch.number,
        before,
        keptOpen: kept,
        claimedIn: where.claimedIn,
        ...(where.missing && { notClaimedIn: where.missing }),
        followed: untold === null,
      },
      ...(alarms.length > 0 && { alarms }),
    });
  });
}

async function claimAndTake(
  site: OwnSite,
  { key: { customer: id, epoch }, plan }: PlannedStep,
  planned: PlannedMove,
  world: World,
  signal: AbortSignal | undefined,
): Promise<Taken> {
  const own = site.settings.site;
  const customer = site.customer(id);
  return site.database(id).transaction(async (client) => {
    const held = await newerThanHeld(client, id, epoch);
    await refuseEnded(client, epoch.move);
    if (held === null) {
      // An earlier attempt came so far, and may not have told the peer.
      const claim = (await plannedClaim(client, id, epoch)) ?? { ...epoch, follows: 0, keeps: [] };
      return { claim, claims: await claimInStores(site, id, claim, signal), kept: 0, before: epoch.number };
    }
    const follows = await requireWorld(
      client,
      customer,
      { own, planned, halves: halvesOf(plan.decisions), held, offered: epoch },
      world,
    );
    const claim: Claim = { ...epoch, follows, keeps: planned.keeps };
    const claims = await claimInStores(site, id, claim, signal);
    const kept = await takeEpoch(client, id, { own, held, epoch, claimedByPeer: world.claimedByPeer });
    // That the peer may serve these, this site vouches for under the new number: it knows that it does not serve them itself.
    await client.query('update tandem.serving set epoch = $3 where customer = $1 and site = $2 and half = any($4)', [
      id,
      customer.peer,
      epoch.number,
      planned.keeps,
    ]);
    await noteClaims(client, id, claim, claims);
    return { claim, claims, kept, before: held.number };
  });
}

interface Offer {
  own: string;
  planned: PlannedMove;
  /** Who move. */
  halves: readonly string[];
  held: Epoch;
  offered: Epoch;
}

/** The epoch that the peer holds, when rights here and there are what the plan takes them to be; nothing has been changed else. */
async function requireWorld(
  client: PoolClient,
  { id, peer }: CustomerSettings,
  { own, planned, halves, held, offered }: Offer,
  { peer: told, claimedByPeer }: World,
): Promise<number> {
  const worse = (what: string): Error => failure('world-worse', `${id}: ${what}; nothing has been changed`);
  const { rows } = await client.query<{ half: string; site: string; epoch: string }>(
    'select half, site, epoch::text from tandem.serving where customer = $1',
    [id],
  );
  const rights = rows.map((row): Right & { half: string } => ({ ...row, epoch: Number(row.epoch) }));
  const mine = rights.filter((row) => goesAlong(row, own, held.number)).map(({ half }) => half);
  // Whom this site does not serve it must not write.
  const stayed = planned.stayed?.flatMap((one) => one.halves) ?? [];
  const lacking = [...halves, ...stayed].filter((half) => !mine.includes(half));
  if (lacking.length > 0) throw worse(`${own} does not serve ${lacking.join(' and ')} under epoch ${held.number}`);
  const both = planned.keeps.filter((half) => mine.includes(half));
  if (both.length > 0) throw worse(`${own} itself serves ${both.join(' and ')}, which ${peer} was to go on serving`);
  if (!knowsItsRights(held.number, claimedByPeer))
    throw worse(`${peer} has claimed epoch ${claimedByPeer}, the database of ${own} knows ${held.number}`);
  if (told.state !== 'says') throw failure('destination-unreachable', `${id}: ${peer}: ${told.because}`);
  // A claim of this site's own that never came into its database, for its worker died, may stand there already.
  const follows = told.epoch.site === own && told.epoch.number > held.number;
  if (!follows && compareEpoch(held, told.epoch) !== 'same')
    throw failure(
      'destination-behind',
      `${id}: ${peer} holds epoch ${told.epoch.number} of ${told.epoch.site}, ${own} ${held.number} of ${held.site}`,
    );
  const twice = told.halves.filter((row) => mine.includes(row.half) && servesBy(row, peer, told.epoch.number));
  const owned = told.halves.filter((row) => servesBy(row, peer, told.epoch.number)).map(({ half }) => half);
  if (owned.toSorted().join() !== planned.keeps.toSorted().join())
    throw worse(
      `${peer} has the right to serve ${owned.join(' and ') || 'nobody'}, by the plan it was ${planned.keeps.join(' and ') || 'nobody'}`,
    );
  if (twice.length > 0)
    throw worse(`${peer} has the right to serve ${twice.map(({ half }) => half).join(' and ')} too`);
  if (told.epoch.number === offered.number) return held.number;
  return told.epoch.number;
}

/** Why the peer's own database was not told, for people; null when it was. A newer epoch there is no silence. */
async function tellPeer(
  customer: CustomerSettings,
  claim: Claim,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  try {
    await followAtPeer(customer, claim, signal);
    return null;
  } catch (error) {
    signal?.throwIfAborted();
    if (failureKind(error) !== 'destination-unreachable') throw error;
    return `${customer.peer} was not told of epoch ${claim.number} in its database (${failureText(error)}); its worker obeys what it reads in the vault or the witness`;
  }
}
