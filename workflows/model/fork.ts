/**
 * A fork: two moves have claimed one epoch, each in a world where it could not see the other. Neither site obeys the other then, and
 * what either has given its users since is unknown to the other. These are the rules by which they come back to one truth.
 */

/** A move that has claimed the number, and the site that claimed it. */
export interface Line {
  site: string;
  move: string;
}

/** A fork as one site has it: `here` is what its own database holds. Its peer has it the other way around. */
export interface ForkLines {
  number: number;
  here: Line;
  there: Line;
}

export const sameLine = (a: Line, b: Line): boolean => a.site === b.site && a.move === b.move;

/** Whether a peer speaks of the very fork that this site has noted. */
export const sameFork = (own: ForkLines, told: ForkLines | null): boolean =>
  told !== null && told.number === own.number && sameLine(own.here, told.there) && sameLine(own.there, told.here);

/** Whom a site may serve while a fork stands: nobody, or those who are at home there, as far as it had the right to. */
export type InFork = 'nobody' | 'own-half';

/**
 * A site that has noted a fork gives up what is not its own half; its peer may not have seen it yet, and serve them both. Only
 * once the peer's own database has noted it too, does neither serve the other's half, and each may serve its own.
 */
export const whomInFork = (own: ForkLines, notedThere: ForkLines | null): InFork =>
  sameFork(own, notedThere) ? 'own-half' : 'nobody';

/** The moves of a fork by the site whose database holds them: what an operator signs, whichever site he sits at. */
export type Lines = Readonly<Record<string, string>>;

export const linesOf = (own: string, peer: string, { here, there }: ForkLines): Lines => ({
  [own]: here.move,
  [peer]: there.move,
});

/** What has been signed for. `both`: operators have picked both lines, so that none is. */
export type Picked = { line: string; by: string[] } | 'both' | null;

/** By which line two operators have gone on; `agreed` says of each line that somebody has signed for whether it was picked. */
export function pickedOf(signed: ReadonlyMap<string, { by: string[]; agreed: boolean }>): Picked {
  const lines = [...signed].filter(([, { agreed }]) => agreed);
  const [first] = lines;
  if (!first) return null;
  return lines.length > 1 ? 'both' : { line: first[0], by: first[1].by };
}
