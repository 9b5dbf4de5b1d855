import { failureKind } from '../../workflows/model/failures.ts';
import { randomUUID } from 'node:crypto';
import { readdir, readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { inject } from 'vitest';

import { claimMove, writeJournal } from '../../activities/journal/moves.ts';
import { createJobs } from '../../activities/mover/jobs.ts';
import { probeContacts } from '../../activities/probes/contacts.ts';
import { setCohort } from '../../activities/services/cohorts.ts';
import { copyAhead } from '../../activities/services/copy-ahead.ts';
import { drainSessions } from '../../activities/services/drain.ts';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { fenceSite } from '../../activities/services/fence.ts';
import { followPeer } from '../../activities/services/gone-to-peer.ts';
import { obeyNewerEpoch } from '../../activities/services/obey.ts';
import { checkParity } from '../../activities/services/parity.ts';
import { askPeerRights } from '../../activities/services/peer-rights.ts';
import { makePlan } from '../../activities/services/plan.ts';
import { makeRelocatePlan } from '../../activities/services/plan-relocate.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { reconcileContacts, salvageContacts } from '../../activities/services/reconcile.ts';
import { restoreContacts } from '../../activities/services/restore.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { Cleaner } from '../../activities/vault/cleaner.ts';
import { deleteExpired } from '../../activities/vault/delete-expired.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { Act } from '../../workflows/model/acts.ts';
import type { MoveInput, MoveWorkflow, StepResult } from '../../workflows/model/moves.ts';
import { eastSite, quietWest } from '../failover-acts/planned-world.ts';
import { CUSTOMER, eastAt, input, makeWorld, type World } from '../failover-acts/world.ts';
import type { Site } from '../rig/databases.ts';

const DAY = 24 * 3_600_000;
export const work = { heartbeat: () => undefined, signal: new AbortController().signal };

/** A move as it was planned and walked, by the acts themselves, in the order of the shipped runbook. */
export interface Walked {
  move: string;
  results: Map<string, StepResult>;
}

/** Two sites with users of both, real parts, and days that go by. */
export interface Ground {
  world: World;
  west: OwnSite;
  east: OwnSite;
  databases: Record<Site, World['eastDb']>;
  /** What the site's schedules do: a snapshot there, or its peer's brought to it. */
  snapshot: (at: Site, read?: 'all' | 'changes') => Promise<void>;
  standby: (at: Site) => Promise<void>;
  /** What `retention` finds and deletes in a site's vault, at the time that it is by now. */
  clean: (at: Site) => ReturnType<typeof deleteExpired>;
  /** Days go by: what lies in the vaults is as old as it would be, to the vaults themselves. */
  pass: (days: number) => Promise<void>;
  cohort: (half: string, names: string[]) => Promise<unknown>;
  /** West takes over from east, which nothing reaches; or the other way round. */
  failover: (at?: Site) => Promise<Walked>;
  /** East, if no other is named, is there again: it obeys, salvages, and learns who serves its users. */
  comeBack: (at?: Site) => Promise<string[]>;
  /** From west, if nothing else is said. `between`: what users do once their changes were brought together. */
  failback: (
    change: Pick<MoveInput, 'half' | 'rule'> & { from?: Site },
    between?: () => Promise<unknown>,
  ) => Promise<Walked>;
  close: () => Promise<void>;
}

export async function openGround({ users }: { users: number }): Promise<Ground> {
  const world = await makeWorld({ locks: false });
  const [west, east] = [quietWest(world), eastSite(world)];
  const databases = { east: world.eastDb, west: world.westDb };
  const schema = await readFile(new URL('../../ops/embedded/people/ejabberd.sql', import.meta.url), 'utf8');
  for (const database of Object.values(databases)) {
    await database.query(`set local search_path to public; ${schema}`);
    for (const site of ['east', 'west'] as const)
      await database.query(
        `insert into tandem.home select $1 || n, $2 from generate_series(1, $3::int) n on conflict do nothing`,
        [site.slice(0, 1), site, users],
      );
  }
  const jobs = {
    east: createJobs({ ...east.settings, peerTemporals: new Map() }, () => work),
    west: createJobs(west.settings, () => work),
  };
  const clock = new Days(world);
  const standby = async (at: Site): Promise<void> =>
    void (await jobs[at]['pull-snapshots']({ customer: CUSTOMER, follow: true }));
  const sites = { east, west };
  const dark = { west: world.westWith(eastAt(world, '127.0.0.1:1') ?? {}), east: eastSite(world, '127.0.0.1:1') };
  return {
    world,
    west,
    east,
    databases,
    snapshot: async (at, read = 'all') => void (await jobs[at]['take-snapshot']({ customer: CUSTOMER, read })),
    standby,
    clean: (at) => clock.clean(at),
    pass: (days) => clock.pass(days),
    cohort: (half, names) => setCohort(east, east.customer(CUSTOMER), { half, names }),
    failover: (at = 'west') => walk(dark[at], 'failover', input({ from: otherOf(at) })),
    async comeBack(at = 'east') {
      await obeyNewerEpoch(sites[at].settings, CUSTOMER, databases[at]);
      await jobs[at]['salvage-halves']({ customer: CUSTOMER });
      const customer = sites[at].customer(CUSTOMER);
      const told = await askPeerRights(customer, databases[at]);
      if (told.state !== 'says') throw new Error(told.because);
      return followPeer(databases[at], customer, told);
    },
    failback({ from = 'west', ...change }, between) {
      const to = otherOf(from);
      const asked = { customer: CUSTOMER, from, to, reason: 'the hall is back', requestedBy: 'di', ...change };
      return walk(sites[from], 'relocate', asked, { nudge: () => standby(to), between });
    },
    close: () => world.close(),
  };

  async function walk(
    site: OwnSite,
    workflow: MoveWorkflow,
    typed: MoveInput,
    { nudge, between }: { nudge?: () => Promise<void>; between?: (() => Promise<unknown>) | undefined } = {},
  ): Promise<Walked> {
    const [run, at] = [randomUUID(), new Date().toISOString()];
    await claimMove(site, { input: typed, run, workflow, workflowId: `${workflow}/${CUSTOMER}`, at });
    const request = { input: typed, declaredAt: at, move: run };
    const plan = await (workflow === 'failover' ? makePlan(site, request) : makeRelocatePlan(site, request));
    if (plan.blockers.length > 0) throw new Error(plan.blockers.map(({ text }) => text).join('; '));
    const line = { customer: CUSTOMER, move: run, at };
    await writeJournal(site, [{ ...line, key: 'planned/1', kind: 'planned', body: { ...plan } }]);
    const epoch = { number: plan.decisions.epoch, site: site.settings.site, move: run };
    const results = new Map<string, StepResult>();
    for (const { id, act } of plan.decisions.steps) {
      const step: PlannedStep = { key: { customer: CUSTOMER, epoch, step: id, round: 0 }, act, plan };
      results.set(id, await performed(site, step, nudge));
      if (act === 'reconcile-contacts') await between?.();
    }
    // Mirrored to the vault, where the peer reads it.
    await writeJournal(site, [{ ...line, key: 'end', kind: 'note', body: {} }]);
    const ended = "update tandem.move set ended_at = now(), phase = 'aborted' where move = $1";
    await site.database(CUSTOMER).query(ended, [run]);
    return { move: run, results };
  }
}

const otherOf = (site: Site): Site => (site === 'east' ? 'west' : 'east');

/** As its runbook has it: what others write on this server may be waited for once more. */
async function performed(site: OwnSite, step: PlannedStep, nudge?: () => Promise<void>): Promise<StepResult> {
  for (let left = 20; ; left -= 1)
    try {
      return await perform(site, step, nudge);
    } catch (error) {
      if (failureKind(error) !== 'not-drained-yet' || left === 0) throw error;
    }
}

type Perform = (site: OwnSite, step: PlannedStep, nudge?: () => Promise<void>) => Promise<StepResult>;

/** Of the steps that this story has. */
const acts: Partial<Record<Act, Perform>> = {
  'advance-epoch': (site, step) => advanceEpoch(site, step, work.signal),
  'fence-site': (site, step) => fenceSite(site, step, work.signal),
  'restore-contacts': (site, step) => restoreContacts(site, step, work),
  'check-parity': (site, step) => checkParity(site, step, work.signal),
  'serve-users': (site, step) => serveUsers(site, step, work.signal),
  probe: (site, step) => probeContacts(site, step, work),
  'salvage-contacts': (site, step) => salvageContacts(site, step, work),
  'reconcile-contacts': (site, step) => reconcileContacts(site, step, work),
  'drain-sessions': (site, step) => drainSessions(site, step, work.signal),
  async 'take-snapshot'(site, step, nudge) {
    let told: Promise<unknown> = Promise.resolve();
    const nudged = async () => {
      told = told.then(() => nudge?.());
      await told;
      return { nudged: true, because: '' };
    };
    try {
      return await copyAhead(site, step, work, nudged);
    } finally {
      await told;
    }
  },
};

function perform(site: OwnSite, step: PlannedStep, nudge?: () => Promise<void>): Promise<StepResult> {
  const act = acts[step.act];
  if (!act) throw new Error(`step ${step.key.step}: ${step.act}`);
  return act(site, step, nudge);
}

/**
 * The clock of retention. A vault dates what it holds by the time at which its file was written, and that can be set: what
 * is stored after days have gone by is dated then, to the vault itself and to whoever asks it.
 */
class Days {
  private readonly world: World;
  private readonly dated = new Set<string>();
  private days = 0;

  constructor(world: World) {
    this.world = world;
  }

  async pass(days: number): Promise<void> {
    await this.date();
    this.days += days;
    // What was opened then was not opened today.
    for (const database of [this.world.eastDb, this.world.westDb])
      await database.query("update tandem.opened set at = at - $1 * interval '1 day'", [days]);
  }

  async clean(at: Site): ReturnType<typeof deleteExpired> {
    await this.date();
    const { vaults, settings, eastDb, westDb } = this.world;
    const [own, peer] = at === 'east' ? [vaults.east, vaults.westReader] : [vaults.west, vaults.eastReader];
    const [vault, other] = [new S3Vault(own), new S3Vault(peer)];
    const cleaner = new Cleaner(at === 'east' ? vaults.eastCleaner : vaults.westCleaner);
    try {
      return await deleteExpired({
        mode: 'delete',
        cleaner,
        vault,
        peer: other,
        database: at === 'east' ? eastDb : westDb,
        customer: CUSTOMER,
        site: at,
        sites: ['east', 'west'],
        publicKeys: settings.publicKeys,
        now: () => Date.now() + this.days * DAY,
        ...work,
      });
    } finally {
      for (const one of [vault, other, cleaner]) one.close();
    }
  }

  private async date(): Promise<void> {
    const { folder } = inject('stack');
    for (const site of ['east', 'west'] as const)
      for (const kind of ['vault', 'vault-versions']) {
        const bucket = join(folder, 'data', site, kind, this.world.vaults[site].bucket);
        const files = await readdir(bucket, { recursive: true, withFileTypes: true }).catch(() => []);
        for (const file of files) {
          const path = join(file.parentPath, file.name);
          if (!file.isFile() || this.dated.has(path)) continue;
          this.dated.add(path);
          const at = new Date(Date.now() + this.days * DAY);
          await utimes(path, at, at);
        }
      }
  }
}
