import { leasePasses, longTimePasses, opensNow, reads, watches } from './by-itself.ts';
import { type Ground } from './ground.ts';
import type { WorldOf } from './explorer.ts';
import { Invariants } from './invariants.ts';
import { losesTransaction, loseSite, putBack, startDatabase, startService, startWorker, stopWorker } from './parts.ts';
import {
  claimsPlanned,
  copies,
  drains,
  hasHandedOver,
  isGivenUp,
  letsGo,
  losesHandOver,
  plans,
  type HalfBit,
  tellsOfClaim,
  tellsOfHandOver,
} from './planned.ts';
import { declares } from './planning.ts';
import type { Rules } from './rules.ts';
import { claims, fences, restores, serves, takes } from './steps.ts';
import { opensByWord, picks, reopens, turnsBack } from './words.ts';
import {
  mirror,
  moves,
  siteName,
  siteOfMove,
  sites,
  SIZE,
  World,
  type MoveIndex,
  type SiteIndex,
  type SiteView,
} from './world.ts';

/** The model that is explored: all that can happen in the world of two sites, and what must hold in every state of it. */

interface Happening {
  name: string;
  /** Alike for what is the mirror image of this. */
  image: string;
  happens: () => boolean;
}

export interface ModelOptions {
  rules: Rules;
  /** At most so many parts and links fail; what heals is not counted. */
  faults: number;
  /** Moves that are planned: none, those that a start holds already, or operators may plan others. None when left out. */
  planned?: 'none' | 'under way' | 'any';
}

export class TwoSites implements WorldOf {
  readonly size = SIZE;
  readonly events: readonly { name: string; apply: (state: Uint8Array) => boolean }[];
  readonly mirrorOf: readonly number[];
  readonly mirror = mirror;
  private readonly w = new World();
  private readonly ground: Ground;
  private readonly invariants: Invariants;
  private readonly faults: number;
  private readonly planned: 'none' | 'under way' | 'any';
  private counts = true;

  constructor({ rules, faults, planned = 'none' }: ModelOptions) {
    this.planned = planned;
    this.ground = { w: this.w, rules };
    this.faults = faults;
    this.invariants = new Invariants(this.ground);
    const happenings = this.happenings();
    this.events = happenings.map(({ name, happens }) => ({
      name,
      apply: (state) => {
        this.w.bytes.set(state);
        if (!happens()) return false;
        state.set(this.w.bytes);
        return true;
      },
    }));
    this.mirrorOf = happenings.map(({ name, image }) =>
      happenings.findIndex((other) => other.image === image && (other.name !== name || isItsOwn(image))),
    );
  }

  faultOf(state: Uint8Array): string | null {
    this.w.bytes.set(state);
    return this.invariants.faultOf();
  }

  /** The state after these events, by name; throws where one of them cannot happen. Faults in it are not counted. */
  after(state: Uint8Array, names: readonly string[]): Uint8Array {
    const reached = state.slice();
    this.counts = false;
    for (const name of names) {
      const event = this.events.find((e) => e.name === name);
      if (!event) throw new Error(`there is no event "${name}"`);
      if (!event.apply(reached)) throw new Error(`"${name}" cannot happen there`);
    }
    this.counts = true;
    return reached;
  }

  private happenings(): Happening[] {
    const { ground } = this;
    return [
      { name: 'the lease passes', image: 'lease', happens: () => (leasePasses(ground), true) },
      ...sites.map((s) => ({
        name: `five minutes and the self-fence time pass; ${siteName(s)} looks first`,
        image: 'long',
        happens: () => (longTimePasses(ground, s), true),
      })),
      { name: 'the link between the sites is cut', image: 'cut', happens: () => this.turns(this.w.all, 'peers', 0) },
      {
        name: 'only client ports pass between the sites',
        image: 'ports',
        happens: () => this.turns(this.w.all, 'peers', 2),
      },
      { name: 'the link between the sites heals', image: 'heal', happens: () => this.turns(this.w.all, 'peers', 1) },
      ...sites.flatMap((s) => [...this.ofParts(s), ...this.ofSite(s)]),
      ...moves.flatMap((m) => this.ofMove(m)),
      ...(this.planned === 'none' ? [] : moves.flatMap((m) => this.ofPlanned(m))),
      ...(this.planned === 'any' ? sites.flatMap((s) => this.ofPlanning(s)) : []),
    ];
  }

  /** A part or a link goes or comes: 0 is a fault, and there are only so many. */
  private turns<F extends string>(of: Record<F, number>, field: F, value: 0 | 1 | 2): boolean {
    if (of[field] === value) return false;
    return this.fails(value !== 1, () => (of[field] = value));
  }

  private fails(isFault: boolean, happens: () => void): boolean {
    const { all } = this.w;
    if (isFault && this.counts && all.faults >= this.faults) return false;
    happens();
    if (isFault && this.counts) all.faults += 1;
    return true;
  }

  private ofParts(s: SiteIndex): Happening[] {
    const { ground, w } = this;
    const at = siteName(s);
    const site = w.sites[s];
    const named = (what: string, happens: () => boolean): Happening => ({
      name: `${at}: ${what}`,
      image: what,
      happens,
    });
    const turn =
      (field: keyof SiteView, value: 0 | 1): (() => boolean) =>
      () =>
        this.turns(site, field, value);
    return [
      named('the link to the witness is cut', turn('toWitness', 0)),
      named('the link to the witness heals', turn('toWitness', 1)),
      named('the link to the zone is cut', turn('toZone', 0)),
      named('the link to the zone heals', turn('toZone', 1)),
      named('the vault goes down', turn('vault', 0)),
      named('the vault comes back', turn('vault', 1)),
      named('the worker dies', () => site.worker !== 0 && this.fails(site.worker === 1, () => stopWorker(site))),
      named('the worker freezes', () => site.worker === 1 && this.turns(site, 'worker', 2)),
      named('the worker goes on', () => site.worker === 2 && this.turns(site, 'worker', 1)),
      named('the worker starts', () => site.worker === 0 && startWorker(ground, s)),
      named('the service restarts', () => this.fails(true, () => startService(ground, s))),
      named('the database goes down', () => this.turns(site, 'database', 0) && losesTransaction(w, s)),
      named('the database comes back', () => site.database === 0 && this.fails(false, () => startDatabase(ground, s))),
      named(
        'the database comes back as it was yesterday',
        () => site.database === 0 && this.fails(true, () => putBack(ground, s)),
      ),
      named('the power is cut', () => site.service + site.database > 0 && this.fails(true, () => loseSite(ground, s))),
      named(
        'the power comes back',
        () => site.service === 0 && (startService(ground, s), startDatabase(ground, s), (site.vault = 1), true),
      ),
    ];
  }

  private ofSite(s: SiteIndex): Happening[] {
    const { ground } = this;
    const site = this.w.sites[s];
    const at = siteName(s);
    const named = (what: string, happens: () => boolean): Happening => ({
      name: `${at}: ${what}`,
      image: what,
      happens,
    });
    return [
      named(
        'the service reads its rights',
        () => site.service === 1 && site.database === 1 && (reads(ground, s), true),
      ),
      named('the worker watches', () => watches(ground, s)),
      named('the worker opens the site', () => opensNow(ground, s)),
      named('operators open the site by hand', () => opensByWord(ground, s)),
      named('operators declare a failover', () => declares(ground, s, { stated: false })),
      named('operators declare a failover, and state that the peer is cut off', () =>
        declares(ground, s, { stated: true }),
      ),
      named('operators pick this line', () => picks(ground, s)),
    ];
  }

  private ofMove(m: MoveIndex): Happening[] {
    const { ground } = this;
    const at = siteName(siteOfMove(m));
    const nth = m % 2 === 1 ? 'move 1' : 'move 2';
    const named = (what: string, happens: () => boolean): Happening => ({
      name: `${at}: ${nth} ${what}`,
      image: `${nth} ${what}`,
      happens,
    });
    return [
      named(
        'claims its epoch in the stores in reach',
        () => claims(ground, m, { dies: false }) || claimsPlanned(ground, m, { dies: false }),
      ),
      named(
        'claims its epoch in the vault, and the worker dies',
        () => claims(ground, m, { dies: true }) || claimsPlanned(ground, m, { dies: true }),
      ),
      named('takes its epoch in its own database', () => takes(ground, m)),
      named('fences the source', () => fences(ground, m)),
      named('has restored the contacts', () => restores(ground, m)),
      named('serves the users', () => serves(ground, m)),
      named('is turned back', () => turnsBack(ground, m)),
      named('gives the source its half back', () => reopens(ground, m)),
    ];
  }

  private ofPlanned(m: MoveIndex): Happening[] {
    const { ground } = this;
    const nth = m % 2 === 1 ? 'move 1' : 'move 2';
    const named = (what: string, happens: () => boolean): Happening => ({
      name: `${siteName(siteOfMove(m))}: ${nth} ${what}`,
      image: `${nth} ${what}`,
      happens,
    });
    return [
      named('tells the peer of its claim', () => tellsOfClaim(ground, m)),
      named('drains the half', () => drains(ground, m)),
      named('copies the half', () => copies(ground, m)),
      named('lets go of the half', () => letsGo(ground, m)),
      named('tells the peer that the half is its own', () => tellsOfHandOver(ground, m)),
      named(
        'has its hand-over forgotten: the database loses that commit',
        () => hasHandedOver(ground, m) && this.fails(true, () => losesHandOver(ground, m)),
      ),
      named('is given up', () => isGivenUp(ground, m)),
    ];
  }

  private ofPlanning(s: SiteIndex): Happening[] {
    const named = (what: string, half: HalfBit): Happening => ({
      name: `${siteName(s)}: ${what}`,
      image: what,
      happens: () => plans(this.ground, s, half),
    });
    return [
      named('operators plan to move its own half away', 1),
      named('operators plan to bring the other half home', 2),
    ];
  }
}

const isItsOwn = (image: string): boolean => ['lease', 'cut', 'ports', 'heal'].includes(image);
