import { setTimeout as pause } from 'node:timers/promises';
import type { MoveInput, MoveWorkflow } from '../../../workflows/model/moves.ts';
import { moveHandle } from '../../../ops/moves.ts';
import { sql } from '../../rig/sql.ts';
import { Gate } from '../failover/gate.ts';
import { faultsOf } from '../failover/judge.ts';
import { Operators } from '../failover/operators.ts';
import { LOST, SURVIVOR, type World } from '../failover/world.ts';
import { sites } from '../relocate/judge.ts';
import { Eyes, type Twice } from './eyes.ts';
import { Users } from './users.ts';

/** Of one move, with all that is cut meanwhile. */
const MOVE_LIMIT_MS = 240_000;
/** Workers look every ten seconds, and open what was closed by two looks; a step that is held is tried again. */
const SETTLED_MS = 120_000;
const LOOK_MS = 500;
/** So long after it can read of a newer epoch may a site go on serving. */
export const OBEYED_MS = 30_000;

/** Who serves which half. */
export type Served = Readonly<Record<string, string>>;
export const AT_HOME: Served = { [LOST]: LOST, [SURVIVOR]: SURVIVOR };

export interface Moved {
  move: string;
  outcome: string;
}

/** Two whole sites that serve people who write all the time, and somebody who looks all the time whom both would serve. */
export class Scene {
  readonly world: World;
  readonly eyes: Eyes;
  readonly users: Users;
  private readonly gates: Record<string, Gate>;

  private constructor(world: World, eyes: Eyes, users: Users, gates: Record<string, Gate>) {
    this.world = world;
    this.eyes = eyes;
    this.users = users;
    this.gates = gates;
  }

  static async open(world: World): Promise<Scene> {
    await world.fill();
    for (const [site, peer] of [
      [SURVIVOR, LOST],
      [LOST, SURVIVOR],
    ] as const)
      // One whose users are away has nobody to be covered.
      if ((await sql(world.urlOf(site), `select from tandem.serving where site = '${site}'`)).length > 0)
        await world.cover(site, peer);
    const urls = new Map(sites.map((site) => [site as string, world.urlOf(site)]));
    const gates: Record<string, Gate> = {};
    for (const site of sites) gates[site] = await Gate.open(world.urlOf(site));
    return new Scene(world, await Eyes.open(urls), await Users.start(urls), gates);
  }

  async close(): Promise<void> {
    await this.users.stop();
    await this.eyes.close();
    for (const gate of Object.values(this.gates)) await gate.close();
  }

  gate(site: string): Gate {
    const gate = this.gates[site];
    if (!gate) throw new Error(`no gate at ${site}`);
    return gate;
  }

  /** Starts a move and brings it to its end, while `meanwhile` does what it does. */
  async move(
    {
      site,
      workflow,
      ...input
    }: { site: string; workflow: MoveWorkflow } & Pick<MoveInput, 'from'> & Partial<MoveInput>,
    meanwhile: (operators: Operators) => Promise<void> = async (operators) => void (operators.retries = true),
  ): Promise<Moved> {
    const { world } = this;
    const client = await world.client(site);
    try {
      const all = { customer: world.customer, reason: 'a walk', requestedBy: 'operator-1', ...input };
      const operators = new Operators(world, client, { site, workflow, input: all });
      await operators.declare();
      const limit = AbortSignal.timeout(MOVE_LIMIT_MS);
      await operators.bringToEnd(limit, () => meanwhile(operators));
      const { move } = operators;
      const [row] = await sql<{ phase: string }>(
        world.urlOf(site),
        `select phase from tandem.move where move = '${move}'`,
      );
      return { move, outcome: row?.phase ?? 'refused' };
    } finally {
      await client.connection.close();
    }
  }

  /** The evidence of a move, as far as it does not hold. */
  evidence(site: string, { move }: Moved): Promise<string[]> {
    return faultsOf(this.world, { site, move }, AbortSignal.timeout(MOVE_LIMIT_MS));
  }

  /** Waits until each half is served by whom it should be and by nobody else, and both sites know that; throws with what is not so. */
  async settled(wanted: Served): Promise<void> {
    for (const deadline = Date.now() + SETTLED_MS; ; await pause(LOOK_MS)) {
      const faults = await this.unsettled(wanted).catch((error: unknown) => [String(error)]);
      if (faults.length === 0) return;
      if (Date.now() > deadline) throw new Error(`not settled ${SETTLED_MS / 1000} s later: ${faults.join('; ')}`);
    }
  }

  /** Waits until a site serves so many. */
  settledAt(site: string, users: number, limitMs: number): Promise<void> {
    const because = `${site} does not come to serve ${users} users`;
    return this.until(limitMs, because, async () => (await this.eyes.served(site)).size === users);
  }

  async until(limitMs: number, because: string, isSo: () => Promise<boolean>): Promise<void> {
    for (const deadline = Date.now() + limitMs; !(await isSo()); await pause(LOOK_MS))
      if (Date.now() > deadline) throw new Error(`${because} within ${limitMs / 1000} s`);
  }

  /** Throws when somebody was served twice since it was asked last, but for what `excused` covers. */
  neverTwice(excused: (twice: Twice) => boolean = () => false): void {
    const wrong = this.eyes.forget().filter((twice) => !excused(twice));
    const told = wrong.map(
      ({ since, until, users }) => `${users} users from ${new Date(since).toISOString()} for ${until - since} ms`,
    );
    if (wrong.length > 0) throw new Error(`served by both sites: ${told.join(', ')}`);
  }

  /** Throws when a word that was said to be kept is not where its user is served; once that is settled. */
  async nothingLost(): Promise<void> {
    const at = new Map<string, string>();
    for (const site of sites) for (const user of await this.eyes.served(site)) at.set(user, this.world.urlOf(site));
    const lost = await this.users.lost((user) => at.get(user));
    if (lost.length > 0) throw new Error(lost.join('; '));
  }

  /** All that stands is let go of, and whatever is not there is started. */
  async mend(): Promise<void> {
    const { world } = this;
    for (const site of sites)
      for (const name of ['postgres', 'vault', 'temporal', 'worker'] as const)
        await world.signal(site, name, 'SIGCONT').catch(() => undefined); // It is not there.
    await world.lines.heal();
    await world.mend([...sites]);
    for (const gate of Object.values(this.gates)) await gate.reopen();
  }

  /** After a try that went wrong: everything runs, no move is under way, and everybody is at home by word of this walk. */
  async clear(): Promise<void> {
    const { world } = this;
    await this.mend();
    for (const site of sites) {
      const client = await world.client(site);
      for (const workflow of ['failover', 'relocate'] as const)
        await moveHandle(client, workflow, world.customer)
          .terminate('the try went wrong')
          .catch(() => undefined); // There is none.
      await client.connection.close();
    }
    const [{ n } = { n: '0' }] = await sql<{ n: string }>(world.url, 'select max(number) + 100 as n from tandem.epoch');
    for (const site of sites)
      await sql(
        world.urlOf(site),
        `update tandem.move set phase = 'aborted', ended_at = now() where ended_at is null;
         delete from tandem.drained; delete from tandem.closed; delete from tandem.handed;
         update tandem.fork set ended_at = now() where ended_at is null;
         update tandem.epoch set number = ${n}, site = '${SURVIVOR}', move = 'cleared at ${n}';
         delete from tandem.serving where half <> tandem.home_of(half);
         update tandem.serving set site = half, epoch = ${n};
         delete from tandem.salvage`,
      );
    await world.cover(SURVIVOR, LOST);
    await world.cover(LOST, SURVIVOR);
    this.eyes.forget();
    this.users.forget();
  }

  private async unsettled(wanted: Served): Promise<string[]> {
    const { world, eyes } = this;
    const faults: string[] = [];
    const rights = Object.entries(wanted).map(([half, site]) => `${half} at ${site}`);
    const held = await Promise.all(sites.map((site) => stateAt(world.urlOf(site))));
    const [one, other] = held;
    if (one?.epoch !== other?.epoch) faults.push(`epochs ${one?.epoch} and ${other?.epoch}`);
    for (const [i, state] of held.entries()) {
      if (state.rights.join() !== rights.toSorted().join()) faults.push(`by ${sites[i]}: ${state.rights.join(', ')}`);
      if (state.held !== '') faults.push(`${sites[i]}: ${state.held}`);
    }
    for (const site of sites) {
      const served = await eyes.served(site);
      const due = Object.entries(wanted).flatMap(([half, at]) => (at === site ? [half] : []));
      const [{ n } = { n: -1 }] = await sql<{ n: number }>(
        world.urlOf(site),
        `select count(*)::int as n from tandem.home where site = any('{${due.join()}}')`,
      );
      if (served.size !== n) faults.push(`${site} serves ${served.size} users, and should serve ${n}`);
    }
    return faults;
  }
}

/** By one database: the epoch; whose each half is, this site's own under that epoch alone; and what keeps somebody from being served. */
async function stateAt(url: string): Promise<{ epoch: string; rights: string[]; held: string }> {
  const [row] = await sql<{ epoch: string; rights: string[]; held: string }>(
    url,
    `select (select concat_ws(' ', number, site, move) from tandem.epoch) as epoch,
            (select coalesce(array_agg(s.half || ' at ' || s.site || case when s.epoch = e.number or s.site <> i.site then '' else ', old' end order by s.half), '{}')
               from tandem.serving s join tandem.epoch e using (customer) join tandem.identity i using (customer)) as rights,
            concat_ws(', ', (select 'closed: ' || kind || ': ' || waits_for from tandem.closed), (select string_agg('drained: ' || half, ' ') from tandem.drained d join tandem.epoch e using (customer) where d.epoch = e.number),
                      (select 'a fork' from tandem.fork f join tandem.epoch e using (customer, number) where f.ended_at is null)) as held`,
  );
  if (!row) throw new Error('no state');
  return row;
}
