import { readReconciled, type ReconciledUser } from '../../activities/services/reconcile.ts';
import type { ConflictRule } from '../../workflows/model/planned-move.ts';
import type { Fate } from '../../workflows/model/retention.ts';
import type { Site } from '../rig/databases.ts';
import { CUSTOMER } from '../failover-acts/world.ts';
import { openGround, type Ground } from './ground.ts';
import { doing, having, peopleAt, scriptsOf, type Person, type Script } from './people.ts';

const thirds = [
  { half: 'east/first', rule: 'survivor' },
  { half: 'east/second', rule: 'home' },
  { half: 'east', rule: 'ask' },
] as const satisfies { half: string; rule: ConflictRule }[];
export const LATE = 'late@x.example';
/** Who came before the site was lost, who after it, and who has left. */
export const NEW = { unsent: 'new-before', later: 'new-after', gone: 'e1' };
/** So much later than anybody had thought are they home. */
export const AWAY_DAYS = 60;

type People = Map<string, Person>;

/** What retention found on one day at one site. */
export interface Cleaned {
  day: number;
  at: Site;
  /** Of east's snapshots, by generation. */
  fates: Map<number, Fate>;
  salvages: Record<Fate, number>;
}

/** One third's way home. */
export interface Home {
  half: string;
  rule: ConflictRule;
  /** Everybody at west when the move began. */
  survivor: People;
  /** Of its users those who changed something after both sides had been brought together. */
  late: Set<string>;
  /** Its users at east when it was over. */
  home: People;
  listed: Map<string, ReconciledUser>;
}

export interface Size {
  users: number;
  days: number;
  seed: number;
}

/**
 * East is lost with changes that no snapshot has. For a week people go on at west, while snapshots, copies and retention run at
 * whichever site is there; two months later its users come home, each third by another rule.
 */
export class Week {
  /** East when the snapshot was taken that west restored, and when it was lost. */
  base: People = new Map();
  disk: People = new Map();
  /** The generation of that snapshot. */
  baseGen = 0;
  /** Of whom east knew, once it was back, that west serves them. */
  followed: string[] = [];
  readonly cleaned: Cleaned[] = [];
  readonly homes: Home[] = [];
  end: Record<Site, People> = { east: new Map(), west: new Map() };
  private readonly ground: Ground;
  private readonly scripts: Record<Site, Script[]>;

  private constructor(ground: Ground, { users, days, seed }: Size) {
    this.ground = ground;
    this.scripts = { east: scriptsOf({ seed, users, days }), west: scriptsOf({ seed: seed + 1, users, days }) };
  }

  static async tell(size: Size): Promise<Week> {
    const ground = await openGround(size);
    try {
      const week = new Week(ground, size);
      await week.run(size.days);
      return week;
    } finally {
      await ground.close();
    }
  }

  private async run(days: number): Promise<void> {
    await this.past();
    await this.lose();
    for (let day = 1; day <= days; day += 1) await this.live(day);
    await this.ground.pass(AWAY_DAYS);
    await this.ground.snapshot('west');
    await this.ground.standby('east');
    await this.clean(days + AWAY_DAYS, 'west', 'east');
    for (const third of thirds) await this.comeHome(third);
    await this.ground.snapshot('west', 'changes');
    await this.ground.standby('east');
    const { east, west } = this.ground.databases;
    this.end = { east: await peopleAt(east), west: await peopleAt(west) };
    await this.ground.pass(2);
    await this.clean(days + AWAY_DAYS + 2, 'west', 'east');
  }

  private everybody(site: Site, text: (who: string, script: Script, n: number) => string): string {
    return this.scripts[site].map((script, n) => text(nameAt(site, n), script, n)).join('');
  }

  private async clean(day: number, ...sites: Site[]): Promise<void> {
    const found = await Promise.all(sites.map((at) => this.ground.clean(at)));
    for (const [n, { sources, salvages }] of found.entries()) {
      const ofEast = sources.find(({ site }) => site === 'east')?.generations ?? [];
      const fates = new Map(ofEast.map(({ gen, fate }) => [gen, fate]));
      this.cleaned.push({ day, at: sites[n] ?? 'west', fates, salvages });
    }
  }

  /** A generation of its own at both sites, and each other's copy. */
  private async generations(): Promise<void> {
    for (const site of ['east', 'west'] as const) {
      await this.ground.databases[site].query('delete from tandem.taken');
      await this.ground.snapshot(site);
    }
    await Promise.all([this.ground.standby('west'), this.ground.standby('east')]);
  }

  /** Seven weeks, with three generations of snapshots. */
  private async past(): Promise<void> {
    for (const site of ['east', 'west'] as const)
      await this.ground.databases[site].query(this.everybody(site, (who, script) => having(who, script)));
    for (const third of thirds.slice(0, 2)) {
      const n = thirds.findIndex(({ half }) => half === third.half);
      const names = this.scripts.east.map((_, at) => nameAt('east', at)).filter((_, at) => at > 0 && at % 3 === n);
      await this.ground.cohort(third.half, names);
    }
    for (const passing of [28, 21, 1]) {
      await this.generations();
      await this.ground.pass(passing);
    }
  }

  private async lose(): Promise<void> {
    const { east, west } = this.ground.databases;
    this.base = await peopleAt(east);
    const [applied] = await west.query<{ gen: number }>("select gen::int from tandem.applied where site = 'east'");
    this.baseGen = applied?.gen ?? 0;
    for (const database of [east, west])
      await database.query("insert into tandem.home values ($1, 'east')", [NEW.unsent]);
    await east.query(this.everybody('east', (who, { unsent }) => doing(who, unsent)));
    await east.query(
      having(NEW.unsent, { had: [{ jid: 'p1@x.example', nick: 'A', state: 'B', groups: [] }], blocked: [] }),
    );
    // One more that the peer never gets.
    await east.query('delete from tandem.taken');
    await this.ground.snapshot('east');
    await east.query(
      this.everybody('east', (who, { days: [first = []] }, n) => (n % 5 === 0 ? doing(who, first) : '')),
    );
    this.disk = await peopleAt(east);
    await this.ground.failover();
  }

  /** A day at west. East is there again on the second. */
  private async live(day: number): Promise<void> {
    const { east, west } = this.ground.databases;
    const back = day >= 2;
    for (const site of ['east', 'west'] as const)
      await west.query(this.everybody(site, (who, script) => doing(who, script.days[day - 1] ?? [])));
    if (day === 3)
      for (const database of [east, west]) {
        await database.query('delete from tandem.home where username = $1', [NEW.gone]);
        await database.query("insert into tandem.home values ($1, 'east')", [NEW.later]);
      }
    if (day === 4)
      await west.query(
        having(NEW.later, {
          had: [{ jid: 'p2@x.example', nick: 'B', state: 'B', groups: [] }],
          blocked: ['b1@y.example'],
        }),
      );
    if (day === 5)
      await west.query(
        doing(NEW.unsent, [
          { does: 'rename', jid: 'p1@x.example', nick: 'Z' },
          { does: 'block', who: 'b0@y.example' },
        ]),
      );
    if (day === 2) this.followed = await this.ground.comeBack();
    await this.ground.snapshot('west', day % 2 === 0 ? 'all' : 'changes');
    if (back) await this.ground.standby('east');
    if (day === 2) await this.ground.standby('west'); // And never anything newer of east, that serves nobody.
    await this.clean(day, 'west', ...(back ? (['east'] as const) : []));
    await this.ground.pass(1);
  }

  private async comeHome({ half, rule }: { half: string; rule: ConflictRule }): Promise<void> {
    const { east, west } = this.ground.databases;
    const survivor = await peopleAt(west);
    const members = new Set(
      (await west.query<{ username: string }>('select username from tandem.home where site = $1', [half])).map(
        ({ username }) => username,
      ),
    );
    const late = new Set([...members].filter((_, n) => n % 4 === 0));
    const { move } = await this.ground.failback({ half, rule }, () =>
      west.query(
        [...late]
          .map((who) => having(who, { had: [{ jid: LATE, nick: '', state: 'B', groups: [] }], blocked: [] }))
          .join(''),
      ),
    );
    const home = new Map([...(await peopleAt(east))].filter(([who]) => members.has(who)));
    const listed = new Map(
      (await readReconciled(this.ground.west, CUSTOMER, { move })).map((one) => [one.username, one]),
    );
    this.homes.push({ half, rule, survivor, late, home, listed });
    await this.ground.snapshot('east');
    await this.ground.standby('west');
    await this.ground.pass(1);
  }
}

const nameAt = (site: Site, n: number): string => `${site.slice(0, 1)}${n + 1}`;
