/**
 * The world of the model, as a row of bytes: two sites, four moves, the network between, and what is said in the witness and
 * in the zone. Values are small numbers, so that a state is copied, mirrored and compared as it is.
 *
 * Moves are numbered: 0 is what both sites were provisioned with (epoch 1), 1 and 2 are east's, 3 and 4 west's. Whatever holds
 * an epoch holds the number of its move.
 */

/** What a field holds, for its mirror image: a move is another move there, anything else is the same. */
type Holds = 'value' | 'move';

const siteFields = {
  /** Parts that run: 1, or not: 0. A worker that is frozen (2) goes on where it was. */
  database: 'value',
  service: 'value',
  worker: 'value',
  vault: 'value',
  /** Links of this site. */
  toWitness: 'value',
  toZone: 'value',
  /** `tandem.epoch`. */
  epoch: 'move',
  /** `tandem.serving`, of the half at home here and of the other: whether it names this site (1) or the peer (0), and the number. */
  ownHere: 'value',
  ownNumber: 'value',
  otherHere: 'value',
  otherNumber: 'value',
  /** `tandem.drained` under that epoch: halves, as in `belief`, that nobody serves, for they are about to be handed over. */
  drained: 'value',
  /** `tandem.closed`: 0, or a kind of `closings`. */
  closed: 'value',
  /** The contacts of the other half were restored. */
  restored: 'value',
  /** It serves its own half from rows of before its peer handed that over to it. */
  stale: 'value',
  /** `tandem.alive`, as the database's clock sees it: fresh (1) or older than 5 min (0). */
  alive: 'value',
  /** The last look that would have told of a newer epoch: fresh (1), or older than the self-fence time (0). */
  seen: 'value',
  /** The worker started after the last look at anybody. */
  began: 'value',
  /** A fork was seen, and no line picked since. */
  fork: 'value',
  /** The site was opened by two operators, and nothing has confirmed it since. */
  byWord: 'value',
  /** The database was put back to an older backup, and no epoch was taken or obeyed since. */
  rolledBack: 'value',
  /** Of `losses`: its database has lost that it handed a half over. */
  lost: 'value',
  /** What the service believes: the half at home here (1), the other (2), both (3). */
  belief: 'value',
  /** The service has had nothing to believe for longer than its lease: it wants a sign of life first. */
  lapsed: 'value',
  /** The peer was heard to confirm what this site would serve; under which epoch. */
  confirmed: 'value',
  confirmedUnder: 'move',
  /** A lease has passed since it was first heard. */
  ripe: 'value',
  /** The newest claim of this site in its own vault, and in the witness; 0: none. */
  inVault: 'move',
  inWitness: 'move',
} satisfies Record<string, Holds>;

const moveFields = {
  /** The number it was planned with; 0: there is no such move. */
  number: 'value',
  /** Of `phases`. */
  phase: 'value',
  /** Of `kinds`. */
  kind: 'value',
  /** Of `ways`: how it is known that the source serves nobody. */
  by: 'value',
  /** Signed in its plan: how the source is isolated; that its observers found it dead. */
  stated: 'value',
  dead: 'value',
  /** The self-fence time has passed since its claim stood in the witness. */
  waited: 'value',
  /** Of a planned move, as its own site sees them: the half that moves, those that its peer keeps, and the number it follows on. */
  half: 'value',
  keeps: 'value',
  follows: 'value',
  /** The peer holds a copy of the half: from after it was let go of (1), or from before (2). */
  copied: 'value',
  /** It has ended, given up or turned back: what still runs of it finds that out only when it writes. */
  ended: 'value',
} satisfies Record<string, Holds>;

const worldFields = {
  /** The link between the sites: cut (0), whole (1), or so that only client ports pass (2). */
  peers: 'value',
  inZone: 'move',
  /** Parts and links that failed so far. */
  faults: 'value',
  /** A store once took a lower number than it held. */
  regressed: 'value',
  /** A half was handed over of which the peer had no copy, or an older one. */
  uncopied: 'value',
} satisfies Record<string, Holds>;

export const closings = ['open', 'was-down', 'cut-off', 'fork'] as const;
export const kinds = ['failover', 'turn-back', 'pick', 'planned'] as const;
export const phases = [
  'none',
  'declared',
  'in stores',
  'taken',
  'closing',
  'closed',
  'given',
  'served',
  'over',
] as const;
/**
 * Its peer was not heard since; it was, and this site has let go, or nothing was to be let go of, and services may believe what they
 * read before; what was changed is listed.
 */
export const losses = ['nothing', 'unheard', 'let go', 'heard', 'listed'] as const;
export const ways = ['nothing', 'database', 'statement', 'observers'] as const;

const codes = <T extends string>(names: readonly T[]): Record<T, number> =>
  Object.fromEntries(names.map((name, code) => [name, code])) as Record<T, number>;
export const Closing = codes(closings);
export const Kind = codes(kinds);
export const Phase = codes(phases);
export const Loss = codes(losses);
export const Way = codes(ways);

export type SiteView = Record<keyof typeof siteFields, number>;
export type MoveView = Record<keyof typeof moveFields, number>;
type WorldView = Record<keyof typeof worldFields, number>;

const siteNames = Object.keys(siteFields) as (keyof SiteView)[];
const moveNames = Object.keys(moveFields) as (keyof MoveView)[];
const worldNames = Object.keys(worldFields) as (keyof WorldView)[];

const AT_MOVES = 2 * siteNames.length;
const AT_WORLD = AT_MOVES + 4 * moveNames.length;
export const SIZE = AT_WORLD + worldNames.length;

class View {
  readonly bytes: Uint8Array;
  readonly at: number;
  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
  }
}

/** A class whose fields are bytes of a state. */
function viewOf<F extends string>(
  names: readonly F[],
): new (bytes: Uint8Array, at: number) => View & Record<F, number> {
  class Fields extends View {}
  names.forEach((name, offset) => {
    Object.defineProperty(Fields.prototype, name, {
      get(this: View) {
        return this.bytes[this.at + offset];
      },
      set(this: View, value: number) {
        this.bytes[this.at + offset] = value;
      },
    });
  });
  return Fields as unknown as new (bytes: Uint8Array, at: number) => View & Record<F, number>;
}

const SiteFields = viewOf(siteNames);
const MoveFields = viewOf(moveNames);
const WorldFields = viewOf(worldNames);

export type SiteIndex = 0 | 1;
export const sites = [0, 1] as const;
export const siteName = (site: SiteIndex): string => (site === 0 ? 'east' : 'west');
export const otherOf = (site: SiteIndex): SiteIndex => (site === 0 ? 1 : 0);
export const moves = [1, 2, 3, 4] as const;
export type MoveIndex = (typeof moves)[number];
export const siteOfMove = (move: number): SiteIndex => (move <= 2 ? 0 : 1);
export const movesOf = (site: SiteIndex): readonly MoveIndex[] => (site === 0 ? [1, 2] : [3, 4]);

/** One state, with names. It is a window: give it other bytes, and it shows those. */
export class World {
  readonly bytes = new Uint8Array(SIZE);
  readonly sites = [new SiteFields(this.bytes, 0), new SiteFields(this.bytes, siteNames.length)] as const;
  readonly moves = moves.map((move) => new MoveFields(this.bytes, AT_MOVES + (move - 1) * moveNames.length));
  readonly all = new WorldFields(this.bytes, AT_WORLD);

  move(index: number): MoveView {
    const found = this.moves[index - 1];
    if (!found) throw new RangeError(`there is no move ${index}`);
    return found;
  }

  /** The number of what `move` claimed; that of the provisioned epoch is 1, as in the product. */
  numberOf(move: number): number {
    return move === 0 ? 1 : this.move(move).number;
  }
}

/** In quiet times: both sites serve their own half under epoch 1, and everything runs. */
export function quiet(): Uint8Array {
  const world = new World();
  for (const site of world.sites)
    Object.assign(site, {
      database: 1,
      service: 1,
      worker: 1,
      vault: 1,
      toWitness: 1,
      toZone: 1,
      ownHere: 1,
      ownNumber: 1,
      otherHere: 0,
      otherNumber: 1,
      alive: 1,
      seen: 1,
      belief: 1,
    });
  world.all.peers = 1;
  return world.bytes;
}

/** Where each byte of the mirror image comes from, and whether it names a move. */
const mirrorMap = ((): { from: Uint8Array; move: Uint8Array } => {
  const from = new Uint8Array(SIZE);
  const move = new Uint8Array(SIZE);
  siteNames.forEach((name, i) => {
    from[i] = siteNames.length + i;
    from[siteNames.length + i] = i;
    if (siteFields[name] === 'move') move[i] = move[siteNames.length + i] = 1;
  });
  for (const index of moves)
    moveNames.forEach((_, i) => {
      from[AT_MOVES + (index - 1) * moveNames.length + i] = AT_MOVES + (mirroredMove(index) - 1) * moveNames.length + i;
    });
  worldNames.forEach((name, i) => {
    from[AT_WORLD + i] = AT_WORLD + i;
    if (worldFields[name] === 'move') move[AT_WORLD + i] = 1;
  });
  return { from, move };
})();

function mirroredMove(move: number): number {
  if (move === 0) return 0;
  return move <= 2 ? move + 2 : move - 2;
}

/** What the same state is when the sites swap their names. */
export function mirror(state: Uint8Array, mirrored: Uint8Array): void {
  const { from, move } = mirrorMap;
  for (let i = 0; i < SIZE; i += 1) {
    const value = state[from[i] ?? 0] ?? 0;
    mirrored[i] = move[i] === 1 ? mirroredMove(value) : value;
  }
}
