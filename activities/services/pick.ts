import { createHash } from 'node:crypto';
import type { PoolClient } from 'pg';
import type { Claim, Epoch } from '../../workflows/model/epoch.ts';
import { failure, failureText } from '../../workflows/model/failures.ts';
import { sameFork, sameLine } from '../../workflows/model/fork.ts';
import type { CustomerSettings } from '../settings.ts';
import { claimAgain, claimInStores, noteClaims } from './claims.ts';
import { close, endClosing, lockRights, readClosing } from './closed.ts';
import { PICK_PREFIX, readFork, type StandingFork } from './fork.ts';
import { followAtPeer } from './peer-functions.ts';
import { askPeerFork, type PeerFork } from './peer-fork.ts';
import { askedHere, pickedBy, wordsOf, type Asked, type PickWord } from './pick-words.ts';
import type { OwnSite } from './site.ts';
import { takeEpoch } from './take-epoch.ts';

/** What comes of a picked line: what it takes is done by the site that was picked, and by nobody else. */

/** The same at each attempt: a claim that came into a store before the worker died is this one's. */
export function pickMove(
  { customer, number, lines }: Pick<Asked, 'customer' | 'number' | 'lines'>,
  line: string,
): string {
  const of = Object.entries(lines).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const digest = createHash('sha256')
    .update(JSON.stringify([customer, number, line, of]))
    .digest('hex');
  return `${PICK_PREFIX}${digest.slice(0, 20)}`;
}

/** Null: nothing is to be done at this site. */
export type PickResult =
  | { done: true; claim: Claim; by: string[]; untold: string | null }
  | { done: false; because: string }
  | null;

/**
 * Acts on the line that two operators have picked, where it is this site's: a further epoch is claimed in every store, under which
 * this site has the rights that its database had before the fork was seen, and its peer goes on serving what that database calls
 * the peer's. It stays closed until the peer has obeyed and confirms it.
 *
 * The words for it lie in this site's own database before the peer is asked, once more, for those that lie there: of two sites
 * that are picked at the same time one at least sees the words for the other, and then neither acts.
 */
export async function actOnPick(
  site: OwnSite,
  customer: CustomerSettings,
  operators: Asked['operators'],
  signal?: AbortSignal,
): Promise<PickResult> {
  const { id, peer } = customer;
  const own = site.settings.site;
  const database = site.database(id);
  const hearing = { customer: id, peer, operators };
  const here = await database.connection(async (client) => {
    const asked = await askedHere(client, hearing);
    const fork = await readFork(client, id);
    return asked && fork && { asked, fork, words: await wordsOf(client, id, asked.number) };
  });
  if (!here) return null;
  const { asked, fork } = here;
  const { picked } = pickedBy(asked, here.words, Date.now());
  if (picked === null || (picked !== 'both' && picked.line !== own)) return null;
  const told = await askPeerFork(customer, database, signal);
  const { picked: stands, good } = pickedBy(asked, [...here.words, ...wordsTold(told)], Date.now());
  const why = whyNotYet({ own, peer, fork, told, good });
  if (why !== null || stands === null || stands === 'both') return { done: false, because: why ?? BOTH };
  const claim = await take(site, customer, { asked, fork, good }, signal);
  return { done: true, claim, by: stands.by, untold: await tell(customer, claim, signal) };
}

const BOTH = 'words for both lines live: nothing is done before those for one of them have ended';

const wordsTold = (told: PeerFork): PickWord[] => (told.state === 'says' ? told.words : []);

interface Standing {
  own: string;
  peer: string;
  fork: StandingFork;
  told: PeerFork;
  good: readonly PickWord[];
}

/** Why this site may not act on its line yet; null when it may. */
export function whyNotYet({ own, peer, fork, told, good }: Standing): string | null {
  if (told.state === 'silent')
    return `${peer} does not answer: the line is picked where both sites see each other (${told.because})`;
  if (told.epoch.number !== fork.number || !sameLine(told.epoch, fork.there))
    return `${peer} holds epoch ${told.epoch.number} of move ${told.epoch.move} by now`;
  if (!sameFork(fork, told.fork)) return `${peer} has not noted the fork yet`;
  return good.some(({ line }) => line !== own) ? BOTH : null;
}

interface Taking {
  asked: Asked;
  fork: StandingFork;
  good: readonly PickWord[];
}

/** The claim, in one transaction of this site's own database; what a store refuses ends it. */
async function take(
  site: OwnSite,
  { id, peer }: CustomerSettings,
  { asked, fork, good }: Taking,
  signal: AbortSignal | undefined,
): Promise<Claim> {
  const own = site.settings.site;
  return site.database(id).transaction(async (client) => {
    const held = await lockHeld(client, id, fork);
    const keeps = await leftToPeer(client, id, peer);
    const claim: Claim = {
      number: fork.number + 1,
      site: own,
      move: pickMove(asked, own),
      follows: fork.number,
      keeps,
    };
    const claims = await claimInStores(site, id, claim, signal);
    await takeEpoch(client, id, { own, held, epoch: claim, claimedByPeer: fork.number });
    // That these are the peer's, this site vouches for under the new number.
    await client.query('update tandem.serving set epoch = $3, at = now() where customer = $1 and site = $2', [
      id,
      peer,
      claim.number,
    ]);
    await noteClaims(client, id, claim, claims);
    await stayClosed(client, id, peer, claim);
    await client.query(
      'update tandem.fork set picked = $3, words = $4, ended_at = now() where customer = $1 and number = $2',
      [id, fork.number, own, JSON.stringify(good)],
    );
    return claim;
  });
}

/** The epoch of this line, locked; `epoch-superseded` when another has come, or the fork stands no longer. */
async function lockHeld(client: PoolClient, customer: string, fork: StandingFork): Promise<Epoch> {
  // An act that was under way before the fork was noted may hold it: the next round tries again.
  await client.query("set local lock_timeout = '3s'");
  await client.query('select from tandem.epoch where customer = $1 for update', [customer]);
  const { epoch } = await lockRights(client, customer);
  const stands = await readFork(client, customer);
  if (stands && epoch.number === fork.number && sameLine(epoch, fork.here)) return epoch;
  throw failure(
    'epoch-superseded',
    `${customer}: the fork at epoch ${fork.number} stands no longer, ${epoch.number} does`,
  );
}

/** Halves that this line calls the peer's, under whichever number. */
async function leftToPeer(client: PoolClient, customer: string, peer: string): Promise<string[]> {
  const { rows } = await client.query<{ half: string }>(
    'select half from tandem.serving where customer = $1 and site = $2 order by half',
    [customer, peer],
  );
  return rows.map(({ half }) => half);
}

/** The peer may serve its own half until it has obeyed, and its service goes by what it read before for some seconds more. */
async function stayClosed(client: PoolClient, customer: string, peer: string, { number }: Claim): Promise<void> {
  const because = `its line was picked, under epoch ${number}: it opens when ${peer} has obeyed that`;
  const standing = await readClosing(client, customer, true);
  if (standing && standing.kind !== 'fork') return;
  if (standing) await endClosing(client, customer, standing, { because });
  await close(client, customer, { kind: 'cut-off', because });
}

/** Why the peer's database was not told; null when it was. Its watch reads the claim in a store. */
async function tell(customer: CustomerSettings, claim: Claim, signal: AbortSignal | undefined): Promise<string | null> {
  try {
    await followAtPeer(customer, claim, signal);
    return null;
  } catch (error) {
    signal?.throwIfAborted();
    return failureText(error);
  }
}

/** Writes the claim of a line that was picked where a store was away. */
export async function claimPickAgain(
  site: OwnSite,
  customer: string,
  move: string,
  signal?: AbortSignal,
): Promise<void> {
  await claimAgain(site, { customer, move }, signal && { signal });
}
