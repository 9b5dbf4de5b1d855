import type { ClosingKind } from './closing.ts';
import { compareEpoch, type Epoch } from './epoch.ts';
import { mayTake, type Right } from './rights.ts';

/** Whether a site that is closed may open again. The same rule for one that was down and one that was cut off. */

/** What this site's own database says. */
export interface OwnRights {
  site: string;
  epoch: Epoch;
  /** What it has the right to serve under that epoch. */
  halves: readonly string[];
}

/** A half, as the peer's database has it. */
export interface PeerHalf {
  half: string;
  site: string;
  epoch: number;
  /** The peer serves it now. */
  open: boolean;
}

/** What the peer's database was heard to say of a customer. */
export type PeerRights =
  | { state: 'silent'; because: string }
  /** Something is there, and says nothing that counts. */
  | { state: 'unclear'; because: string }
  | { state: 'says'; epoch: Epoch; halves: readonly PeerHalf[] };

export interface Opening {
  open: boolean;
  because: string;
}

const no = (because: string): Opening => ({ open: false, because });

/**
 * It opens when the peer answers and confirms the very epoch, and that what it would serve is its own: by a row that says
 * so, or because it holds an epoch that this site has claimed, and has no row under it that says otherwise.
 */
export function mayOpen(kind: ClosingKind, own: OwnRights, peer: PeerRights): Opening {
  if (kind === 'fork') return no('two operators must pick the line that stands');
  if (kind === 'operator') return no('an operator has closed it: two open it');
  if (peer.state === 'silent') return no(`its peer does not answer: ${peer.because}`);
  if (peer.state === 'unclear') return no(`its peer confirms nothing: ${peer.because}`);
  const epoch = compareEpochs(own, peer.epoch);
  if (epoch !== null) return no(epoch);
  for (const half of own.halves) {
    const rows = peer.halves.filter((row) => row.half === half);
    const against = rows.find((row) => row.open || (row.epoch === peer.epoch.number && row.site !== own.site));
    if (against) return no(`its peer says that ${half} is ${against.site}'s to serve`);
    const confirmed = rows.some((row) => row.site === own.site && row.epoch === peer.epoch.number);
    if (!confirmed && own.epoch.site !== own.site)
      return no(`its peer does not say that ${half} is ${own.site}'s to serve`);
  }
  const what =
    own.halves.length === 0
      ? 'this site serves nobody under it'
      : `the users of ${own.halves.join(' and ')} are its to serve`;
  return { open: true, because: `its peer holds the same epoch ${own.epoch.number}; ${what}` };
}

/** Null when both hold the very same one. */
function compareEpochs({ epoch }: OwnRights, peers: Epoch): string | null {
  const told = `its peer holds epoch ${peers.number} of ${peers.site}, this site ${epoch.number} of ${epoch.site}`;
  if (peers.number > epoch.number) return `${told}: it will be obeyed`;
  if (peers.number < epoch.number) return `${told}: the peer has not obeyed it yet`;
  return compareEpoch(epoch, peers) === 'same' ? null : `${told}, of another move: a fork`;
}

/**
 * Why two operators may not open a site; null when they may. They stand in for a peer that does not answer or does not
 * confirm, never against one that serves, or that was given what this site held.
 */
export function whyNotByWord(kind: ClosingKind, own: OwnRights, peer: PeerRights): string | null {
  if (kind === 'fork') return 'two sites claimed one epoch: the line that stands is picked first';
  if (peer.state !== 'says') return null;
  if (peer.epoch.number > own.epoch.number)
    return `the peer answers and holds the newer epoch ${peer.epoch.number} of ${peer.epoch.site}: this site obeys it`;
  // A move of its own may still be under way there, and finds out in its database only that it is over.
  if (peer.epoch.number < own.epoch.number)
    return `the peer answers and holds the older epoch ${peer.epoch.number}: it confirms this site once it has obeyed epoch ${own.epoch.number}, or its database is to be stopped first`;
  if (peer.epoch.number === own.epoch.number && compareEpoch(own.epoch, peer.epoch) !== 'same')
    return `the peer answers and holds epoch ${peer.epoch.number} of another move: a fork`;
  for (const half of own.halves) {
    const row = peer.halves.find((h) => h.half === half && (h.open || holdsRight(h, own, peer.epoch)));
    if (row)
      return `the peer answers and says that ${half} is ${row.site}'s to serve${row.open ? ', and serves it' : ''}`;
  }
  return null;
}

const holdsRight = (row: PeerHalf, own: OwnRights, { number }: Epoch): boolean =>
  number === own.epoch.number && row.epoch === number && row.site !== own.site;

/**
 * Halves that the peer has given to this site: the peer claimed the epoch that both hold, and says under that very epoch
 * that they are this site's, which has no such right yet. Rows of older epochs say nothing.
 */
export function handedOver(
  own: OwnRights,
  peer: string,
  told: { epoch: Epoch; halves: readonly PeerHalf[] },
): string[] {
  if (told.epoch.site !== peer || compareEpoch(own.epoch, told.epoch) !== 'same') return [];
  return told.halves
    .filter((row) => row.site === own.site && row.epoch === told.epoch.number && !own.halves.includes(row.half))
    .map(({ half }) => half);
}

/**
 * Halves that this site has handed over and, by its own rows, still serves: its database has lost that commit, as a replica has
 * that was promoted without it. Under a claim of this site's own nobody but this site gives its peer a right: where the peer has one
 * under such a claim, the half is the peer's. The claim itself may be lost here as well. What was heard under an older number than
 * this site holds says nothing: the half may have come back since.
 */
export function lostHandOvers(
  own: OwnRights,
  peer: string,
  told: { epoch: Epoch; halves: readonly PeerHalf[] },
): string[] {
  if (told.epoch.site !== own.site || compareEpoch(own.epoch, told.epoch) === 'refused') return [];
  return told.halves
    .filter((row) => row.site === peer && row.epoch === told.epoch.number && own.halves.includes(row.half))
    .map(({ half }) => half);
}

/** What a site's own database says of a half. */
export type OwnHalf = Right & { half: string };

/**
 * Halves that are the peer's to serve, and that this site does not know yet to be: the peer says so under the very epoch that
 * both hold, and what stands here is older. Never one of which this site alone has something, nor one that it serves under
 * that epoch: what was heard may be older than what was handed over since.
 */
export function goneToPeer(
  own: { epoch: Epoch; halves: readonly OwnHalf[]; unsalvaged: readonly string[] },
  peer: string,
  told: { epoch: Epoch; halves: readonly PeerHalf[] },
): string[] {
  if (compareEpoch(own.epoch, told.epoch) !== 'same') return [];
  return told.halves
    .filter((row) => row.site === peer && row.epoch === told.epoch.number && !own.unsalvaged.includes(row.half))
    .filter((row) => {
      const here = own.halves.find(({ half }) => half === row.half) ?? null;
      return here?.site !== peer && mayTake(here, row);
    })
    .map(({ half }) => half);
}
