import { leasePasses, opensNow, watches } from './by-itself.ts';
import { rowsGive, type Ground } from './ground.ts';
import { NOWHERE, States } from './explorer.ts';
import { isBehind } from './following.ts';
import { isLive } from './planning.ts';
import { startService, startWorker } from './parts.ts';
import {
  Closing,
  Kind,
  Loss,
  moves,
  movesOf,
  otherOf,
  Phase,
  siteName,
  siteOfMove,
  sites,
  SIZE,
  Way,
  type SiteIndex,
  type SiteView,
} from './world.ts';

/** What must hold in every state, and what must become of every state once all is healed. */

const OWN = 1;
const OTHER = 2;
/** Rounds of both watches after which nothing may move any more. */
const ROUNDS = 8;

/** Why nobody serves a half although everything runs: what `status` names, and operators go on from. */
export const held = {
  fork: 'two sites hold one number: two operators pick the line that stands',
  move: 'a move is under way: its next step, or turn-back',
  lost: 'the sites hold different epochs, and none will obey: a failover claims a further one',
  'rolled back': 'a database was put back to an older backup: a failover claims a further epoch',
  behind:
    'its site was put back to a backup after it was handed over, and does not take it without that copy: a failover from it',
  'left closed':
    'it was closed already when its own site took the epoch, as the plan said: the way home, or a failover from it',
  picked: 'the line that was not picked is closed: a failover, or the way home',
} as const;
export type Held = keyof typeof held;

/** By which site looks first. */
const newlyHealed = (): readonly [States, States] => [new States(SIZE), new States(SIZE)];

const isLost = ({ lost }: SiteView): boolean => lost !== Loss.nothing && lost !== Loss.listed;

export class Invariants {
  private readonly ground: Ground;
  private readonly kept: Uint8Array;
  private healed = newlyHealed();

  constructor(ground: Ground) {
    this.ground = ground;
    this.kept = new Uint8Array(ground.w.bytes.length);
  }

  /** Of the state in the world, which is left as it was. */
  faultOf(): string | null {
    const { w } = this.ground;
    if (w.all.regressed === 1) return 'a store has taken a lower number than it held';
    if (w.all.uncopied === 1) return 'a half was handed over without a copy of what was changed last';
    const early = sites.find((s) => (w.sites[s].belief & OTHER) !== 0 && w.sites[s].restored === 0);
    if (early !== undefined)
      return `${siteName(early)} serves the users of ${siteName(otherOf(early))} before their contacts are restored`;
    const stale = sites.find((s) => (w.sites[s].belief & OWN) !== 0 && w.sites[s].stale === 1);
    if (stale !== undefined)
      return `${siteName(stale)} serves its own half, handed over to it, from rows of before that`;
    const twice = this.servedTwice();
    if (twice !== null && !this.excused(twice)) return `both sites serve the users of ${siteName(twice)}`;
    this.kept.set(w.bytes);
    for (const first of sites) {
      const fault = this.settles(twice, first);
      w.bytes.set(this.kept);
      if (fault === null) continue;
      this.healed = newlyHealed(); // What was remembered last did not come to rest well.
      return fault;
    }
    return null;
  }

  private servedTwice(): SiteIndex | null {
    const { w } = this.ground;
    const found = sites.find((s) => (w.sites[s].belief & OWN) !== 0 && (w.sites[otherOf(s)].belief & OTHER) !== 0);
    return found ?? null;
  }

  /**
   * Whether people's words let two sites serve a half: what they signed was not so, and no self-fence stood in for it. Or its own
   * site has lost that it handed it over, and has not heard its peer since.
   */
  private excused(half: SiteIndex): boolean {
    const { w, rules } = this.ground;
    if (sites.some((s) => w.sites[s].byWord === 1)) return true;
    if (sites.some((s) => isLost(w.sites[s]))) return true;
    if (rules.selfFence) return false;
    const served = movesOf(otherOf(half))
      .filter((m) => w.move(m).phase === Phase.served)
      .toSorted((a, b) => w.numberOf(b) - w.numberOf(a));
    const by = served[0] === undefined ? Way.nothing : w.move(served[0]).by;
    return by === Way.statement || by === Way.observers;
  }

  /** Heals everything, and lets both sites look around until nothing moves any more. */
  private settles(twice: SiteIndex | null, first: SiteIndex): string | null {
    const { w } = this.ground;
    w.all.peers = 1;
    for (const s of [first, otherOf(first)]) this.repairs(s);
    w.all.faults = 0;
    // What has healed to this state before, has come to rest well: most states heal to few.
    if (twice === null && this.healed[first].add(w.bytes, NOWHERE, 0) === NOWHERE) return null;
    const lost = sites.some((s) => isLost(w.sites[s]));
    const last = new Uint8Array(w.bytes.length);
    for (let round = 0; Buffer.compare(last, w.bytes) !== 0; round += 1) {
      if (round === ROUNDS) return `nothing comes to rest within ${ROUNDS} rounds after all has healed`;
      last.set(w.bytes);
      for (const s of [first, otherOf(first)]) {
        watches(this.ground, s);
        opensNow(this.ground, s);
      }
      leasePasses(this.ground);
      if (lost && round === 0 && this.servedTwice() !== null)
        return 'both sites still serve one half after a look at the peer that was given it';
    }
    const still = this.servedTwice();
    if (still !== null) return `after all has healed, both sites still serve the users of ${siteName(still)}`;
    if (twice !== null && !sites.some((s) => this.tellsOfIt(s)))
      return `both sites served the users of ${siteName(twice)}, and nothing tells of it`;
    const silent = sites.find((s) => !this.isServed(s) && this.whyHeld(s) === null);
    if (silent !== undefined)
      return `after all has healed nobody serves the users of ${siteName(silent)}, and nothing says why`;
    return null;
  }

  /** It is a fork, a closing (`tandem.closed`), what is to be salvaged of a hand-over that was lost, or an epoch of the peer that was obeyed (`tandem.obeyed`). */
  private tellsOfIt(s: SiteIndex): boolean {
    const { epoch, closed, fork, lost } = this.ground.w.sites[s];
    return fork === 1 || lost === Loss.listed || closed !== Closing.open || (epoch !== 0 && siteOfMove(epoch) !== s);
  }

  private repairs(s: SiteIndex): void {
    const { ground } = this;
    const site = ground.w.sites[s];
    site.toWitness = site.toZone = site.vault = site.database = 1;
    if (site.service === 0) startService(ground, s);
    if (site.worker === 2) site.worker = 1;
    if (site.worker === 0) startWorker(ground, s);
  }

  private isServed(half: SiteIndex): boolean {
    const { w } = this.ground;
    return (w.sites[half].belief & OWN) !== 0 || (w.sites[otherOf(half)].belief & OTHER) !== 0;
  }

  /** Why nobody serves a half; null: nothing tells. */
  whyHeld(half: SiteIndex): Held | null {
    const { ground } = this;
    const { w } = ground;
    const home = w.sites[half];
    const other = w.sites[otherOf(half)];
    if (home.fork === 1 || other.fork === 1) return 'fork';
    if (moves.some((m) => isLive(ground, m))) return 'move';
    if (home.rolledBack === 1 || other.rolledBack === 1) return 'rolled back';
    if (home.epoch !== other.epoch) return 'lost';
    if (home.epoch === 0) return null;
    if (isBehind(w, half)) return 'behind';
    if (w.move(home.epoch).kind === Kind.pick) return 'picked';
    // It took the epoch itself, and what was closed before did not come back by a change of number.
    return siteOfMove(home.epoch) === half && (rowsGive(ground, half) & OWN) === 0 ? 'left closed' : null;
  }
}
