import type { Again } from '../../workflows/model/again.ts';
import { failure } from '../../workflows/model/failures.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import { mendMerged } from '../contacts/mend-merged.ts';
import { READ_COMMITTED, reconcileUsers, type ReconcileCounts } from '../contacts/reconcile.ts';
import { lockEpoch, noApplyCounts } from '../contacts/restore.ts';
import { liveSurvivor } from '../contacts/survivors.ts';
import { diffThreeWays } from '../contacts/three-way.ts';
import { withPeerVault } from '../probes/peer.ts';
import { openSnapshot, type OpenSnapshot } from '../vault/open.ts';
import type { Vault } from '../vault/port.ts';
import { sha256 } from '../vault/signed.ts';
import { doneBefore, noteEffect } from './effects.ts';
import type { PlannedStep } from './planned.ts';
import type { LongWork } from './restore.ts';
import type { OwnSite } from './site.ts';
import { withPlannedSnapshot } from './snapshot.ts';

/**
 * The act `restore-contacts` where its users are served by now: against the snapshot that was restored before, each of them is
 * brought to what the plan's snapshot has, but for what has changed here since, which stays and is listed (DESIGN 4, point of no
 * return). A denial that stands on either side stays. Without a base nobody is touched.
 */
export async function restoreAgain(
  site: OwnSite,
  input: PlannedStep,
  { since, base }: Again,
  work: LongWork,
): Promise<StepResult> {
  const { key, plan } = input;
  const { id, domain, limits } = site.customer(key.customer);
  const database = site.database(id);
  const done = await doneBefore(database, input);
  if (done) return done;
  const guard = (client: Parameters<typeof lockEpoch>[0]): Promise<void> =>
    lockEpoch(client, database.name, id, key.epoch);
  await database.transaction(guard);
  const halves = halvesOf(plan.decisions);
  if (!base) {
    const [row] = await database.query<{ n: number }>(
      'select count(*)::int as n from tandem.home where site = any($1)',
      [halves],
    );
    return database.transaction(async (client) => {
      await guard(client);
      const users = row?.n ?? 0;
      return noteEffect(client, input, {
        summary: `${users} users of ${halves.join(' and ')} are served here since ${since}, and stay as they stand`,
        facts: { ...noApplyCounts(), users, from: null },
      });
    });
  }
  const brought = broughtBy(input);
  const { counts, point } = await merge(site, input, base, brought, work);
  return database.transaction(async (client) => {
    await guard(client);
    const mending = { customer: id, domain, lost: halves, limit: limits.contacts, ...work };
    const pairs = await mendMerged(client, mending, brought);
    return noteEffect(client, input, resultOf(counts, { point, pairs, from: plan.source.from }));
  }, READ_COMMITTED);
}

/** By what those whom this move has written are known: once for a move and its snapshot, however often it is tried. */
const broughtBy = ({ key, plan }: PlannedStep): string => sha256(`${key.epoch.move}/${plan.source.manifest}`);

async function merge(
  site: OwnSite,
  { key, plan }: PlannedStep,
  base: NonNullable<Again['base']>,
  brought: string,
  work: LongWork,
): Promise<{ counts: ReconcileCounts; point: string }> {
  const { id, peer, keys, limits } = site.customer(key.customer);
  const { publicKeys, peerVaults } = site.settings;
  const database = site.database(id);
  const halves = halvesOf(plan.decisions);
  return withPlannedSnapshot(site, plan, work.signal, async ({ opened, signal }) => {
    const from = (vault: Vault): Promise<OpenSnapshot> =>
      openSnapshot({ vault, keys, publicKeys, id: base.snapshot, expectManifest: base.manifest, signal });
    const reconcile = async (before: OpenSnapshot) => ({
      counts: await reconcileUsers({
        ...work,
        database,
        customer: id,
        halves,
        epoch: key.epoch,
        salvage: brought,
        keys,
        limit: limits.contacts,
        merges: diffThreeWays({
          base: before,
          salvage: opened,
          survivor: (index) =>
            liveSurvivor({ database, keys, halves, own: { customer: id, site: site.settings.site }, signal }, index),
          rule: 'survivor',
          heartbeat: work.heartbeat,
          signal,
        }),
      }),
      point: opened.manifest.point,
    });
    if (base.from === 'own-vault') return reconcile(await from(site.vault));
    const access = peerVaults.get(peer);
    if (!access) throw failure('input-invalid', `vault of ${peer}: no credentials for it are configured`);
    return withPeerVault(access, async (vault) => reconcile(await from(vault)));
  });
}

interface Told {
  point: string;
  pairs: Awaited<ReturnType<typeof mendMerged>>;
  from: string;
}

function resultOf(counts: ReconcileCounts, { point, pairs, from }: Told): StepResult {
  const { users, written, conflicts, denyKept, refused, overLimit, quarantined, already, notHere } = counts;
  const told: [number, string][] = [
    [already, 'were brought there before, and stay as they stand'],
    [conflicts, 'had changed the same themselves, which stays'],
    [denyKept, 'still deny somebody whom that point does not'],
    [overLimit, 'have more contacts than are allowed; none was cut off'],
    [notHere, 'are not of these halves here any more, and were passed over'],
    [pairs.mended, 'contacts were brought to what the other side says'],
  ];
  const alarms = [
    ...(refused === 0 ? [] : [`the database refuses the rows of ${refused} users: they keep those they had`]),
    ...(quarantined === 0 ? [] : [`${quarantined} users are in quarantine: their lists cannot be read`]),
  ];
  return {
    summary: `${users} users are other at ${point} than they were restored; ${written} were brought there${told.flatMap(([n, text]) => (n > 0 ? [`; ${n} ${text}`] : [])).join('')}`,
    facts: {
      ...noApplyCounts(),
      ...counts,
      pairsMended: pairs.mended,
      again: true,
      from,
    },
    ...(alarms.length > 0 && { alarms }),
  };
}
