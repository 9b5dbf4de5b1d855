import { loadRunbook } from '../../runbooks/load.ts';
import { applicable } from '../../workflows/model/applicable.ts';
import { makeForecast } from '../../workflows/model/forecast.ts';
import { failure } from '../../workflows/model/failures.ts';
import { homeOf, isCohort } from '../../workflows/model/half.ts';
import { moveName, type MoveInput } from '../../workflows/model/moves.ts';
import { canonicalJson, type Decisions, type Plan, type RecoverySource } from '../../workflows/model/plan.ts';
import { broughtTogether, type PlannedMove } from '../../workflows/model/planned-move.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import { blockedByArchive } from '../archive/unfit.ts';
import { observeSource } from '../probes/source.ts';
import { countUndelivered } from '../probes/undelivered.ts';
import { unprobed } from '../probes/services/step.ts';
import type { CustomerSettings } from '../settings.ts';
import { nextEpoch } from '../vault/epochs.ts';
import { sha256 } from '../vault/signed.ts';
import { claimsInReach } from './claims.ts';
import { cohortsAt, whyApart } from './cohorts.ts';
import { readClosing } from './closed.ts';
import { partsOf, unconfigured, unseen, withParties } from './configured.ts';
import { APPROVALS_NEEDED, approvers, unperformed } from './decide.ts';
import { destinationAsItIs, unready } from './destination.ts';
import { blockedByFork, readFork } from './fork.ts';
import { checkRelocateInput, type PlannedInput } from './input.ts';
import { measuredTimes, timesInDatabase } from './measured.ts';
import { readOperators } from './operators.ts';
import { findReconciliation } from './reconciliation.ts';
import { homesAsAsked, whyNotRehome } from './rehome.ts';
import { keepSigned } from './signed-plan.ts';
import { findStayed } from './stayed.ts';
import type { OwnSite } from './site.ts';

/**
 * Binds the runbook of a planned move to the world: which of both sites serves whom, what the destination holds of these users,
 * and what it alone has. Both sites are asked, for both are there; whatever it lacks is a reason for which nobody can approve.
 * The same world gives the same decisions.
 */
export async function makeRelocatePlan(
  site: OwnSite,
  { input: typed, declaredAt, move }: { input: MoveInput; declaredAt: Timestamp; move?: string },
  { signal }: { signal?: AbortSignal } = {},
): Promise<Plan> {
  const { input, customer } = checkRelocateInput(site, typed);
  const { from, to, half } = input;
  const cohorts = await cohortsAt(site.database(customer.id), customer.id, half, from);
  const halves = [...cohorts, half];
  const seen = await look(site, customer, input, halves, signal);
  const { here, there, found, others, runbook, seenPeer, claimed, times, operators } = seen;
  if (!('silent' in there) && there.owns.includes(half) && !here.serves.includes(half))
    throw failure('already-served', `users of ${half} are served at ${to} already: nothing is to be moved`);
  const epoch = nextEpoch(claimed.claims, Math.max(here.epoch, seenPeer.claimed, seenPeer.epoch?.number ?? 0));
  const planned = plannedMove(input, halves, seen);
  const parts = [
    ...optionsFor(customer, half),
    ...partsOf(site.settings, customer, half),
    ...(input.rehome === true ? (['rehoming'] as const) : []),
  ];
  const decisions = await keepSigned(site, move, {
    format: 1,
    kind: homeOf(half) === to ? 'failback' : 'relocate',
    customer: customer.id,
    from,
    to,
    epoch,
    disruptedAt: declaredAt,
    runbook: { name: runbook.name, digest: runbook.digest },
    ...applicable(withParties(runbook.steps, customer), parts),
    isolation: { verdict: 'serving', observers: [], statement: null },
    recoveryPoint: declaredAt,
    acceptedLossMs: null,
    users: here.users,
    ...(cohorts.length > 0 && { cohorts }),
    planned,
    approvers: approvers(operators.admitted),
    approvalsNeeded: APPROVALS_NEEDED,
  } satisfies Decisions);
  const { rpoMs, rtoMs } = customer.objectives;
  return {
    decisions,
    digest: sha256(canonicalJson(decisions)),
    source: ('silent' in there ? null : there.holds) ?? nothingThere(customer.id, from, declaredAt),
    notTaken: [],
    ...(operators.notAdmitted.length > 0 && { notAdmitted: operators.notAdmitted }),
    undelivered: here.undelivered,
    forecast: makeForecast(decisions.steps, here.users, times),
    rpoMs,
    rtoMs,
    targetRtoMs: customer.target.rtoMs,
    observed: seenPeer.because,
    notes: [...found.notes, ...others.notes, ...elsewhere(here.cohorts, halves, to), ...unseen(customer, half)],
    blockers: await blockersOf(site, customer, { ...input, halves }, decisions, seen),
    madeAt: new Date().toISOString(),
  };
}

/** What it decides beside what every move does. */
function plannedMove(
  { half, from, to, rehome }: PlannedInput,
  halves: readonly string[],
  { here, there, found, others }: Seen,
): PlannedMove {
  const goOn = here.serves.some((h) => !halves.includes(h)) ? [from] : [];
  return {
    half,
    keeps: 'silent' in there ? [] : there.owns.filter((h) => !halves.includes(h)),
    servedAt: [...new Set([to, ...goOn])].toSorted(),
    reconcile: found.reconcile,
    ...(others.stayed.length > 0 && { stayed: others.stayed }),
    ...(rehome === true && { rehome }),
  };
}

type Seen = Awaited<ReturnType<typeof look>>;

/** Everything that is looked at; each look has a limit of its own. */
async function look(
  site: OwnSite,
  customer: CustomerSettings,
  input: PlannedInput,
  halves: readonly string[],
  signal: AbortSignal | undefined,
) {
  const database = site.database(customer.id);
  const kind = moveName('relocate', input);
  const { half, rule = 'survivor' } = input;
  const times = database.connection((client) => timesInDatabase(client, customer.id));
  const [runbook, seenPeer, claimed, here, there, found, others, measured, operators, differ] = await Promise.all([
    loadRunbook(customer.runbooks.get(kind), { kind }),
    observeSource(site.settings, customer, signal),
    claimsInReach(site, customer.id, signal),
    standsHere(site, customer.id, halves),
    destinationAsItIs(site, customer, halves, signal),
    findReconciliation(site, customer, halves, rule, signal),
    findStayed(site, customer, { half, halves, rule }, signal),
    measuredTimes(site, customer.id, times, signal),
    readOperators(database, site.settings.operators),
    whyApart(site, customer, homeOf(half), signal),
  ]);
  return { runbook, seenPeer, claimed, here, there, found, others, times: measured, operators, differ };
}

/** This site's own database: whom it serves, and how many are to go. */
async function standsHere(site: OwnSite, id: string, halves: readonly string[]) {
  const database = site.database(id);
  return database.connection(async (client) => {
    const { rows } = await client.query<{ epoch: string; serves: string[]; users: number; cohorts: string[] }>(
      `select e.number::text as epoch,
              (select coalesce(array_agg(s.half order by s.half), '{}') from tandem.serving s, tandem.identity i
                where s.customer = e.customer and s.site = i.site and s.epoch = e.number) as serves,
              (select count(*)::int from tandem.home where site = any($2)) as users,
              (select coalesce(array_agg(s.half order by s.half), '{}') from tandem.serving s
                where s.customer = e.customer and tandem.home_of(s.half) = any($2) and s.half <> tandem.home_of(s.half)) as cohorts
         from tandem.epoch e where e.customer = $1`,
      [id, halves],
    );
    const { epoch = '0', serves = [], users = 0, cohorts = [] } = rows[0] ?? {};
    const closing = await readClosing(client, id);
    const fork = await readFork(client, id);
    return {
      epoch: Number(epoch),
      serves,
      users,
      cohorts,
      closing,
      fork,
      undelivered: await countUndelivered(database),
    };
  });
}

/** Why nobody can approve: nothing that is asked for later may be missing in the middle of a move that nobody needs at once. */
async function blockersOf(
  site: OwnSite,
  customer: CustomerSettings,
  { half, halves, from, to, rule }: PlannedInput & { halves: readonly string[] },
  { steps, ...decisions }: Decisions,
  { here, there, found, others, seenPeer, differ }: Seen,
): Promise<Plan['blockers']> {
  const blocked = (text: string): Plan['blockers'][number] => ({ kind: 'destination-unready', text });
  // Its database is asked for more below.
  const merged = broughtTogether(decisions).flatMap((one) => one.halves);
  const silent = seenPeer.observers.filter(({ name, saw }) => saw === 'unreachable' && name !== 'database');
  return [
    ...blockedByFork(here.fork),
    ...halves
      .filter((one) => !here.serves.includes(one))
      .map((one) => blocked(`${from} does not serve users of ${one} under epoch ${here.epoch}`)),
    ...(differ === null || 'silent' in there ? [] : [blocked(differ)]),
    ...('silent' in there ? [] : homesAsAsked({ steps, ...decisions }, { to, owns: there.owns }).map(blocked)),
    ...('silent' in there || decisions.planned?.rehome !== true
      ? []
      : (await whyNotRehome(site, customer, halves)).map(blocked)),
    ...(here.closing ? [blocked(`${from} is closed since ${here.closing.since}: ${here.closing.because}`)] : []),
    ...silent.map(({ name }) => blocked(`${to}: its ${name} does not answer (${seenPeer.because[name] ?? 'silent'})`)),
    ...('silent' in there
      ? [blocked(`${to}: its database does not answer (${there.silent})`)]
      : unready(to, { halves, epoch: here.epoch, rpoMs: customer.objectives.rpoMs, own: from }, there).map(blocked)),
    ...[...(found.why === null ? [] : [found.why]), ...others.whys].map(blocked),
    ...(merged.length > 0 && rule === undefined ? [blocked(noRule(to, merged))] : []),
    ...(merged.length > 0 && !steps.some((s) => s.act === 'reconcile-contacts') ? [blocked(noMerge(to, merged))] : []),
    ...unperformed(steps),
    ...unconfigured(site.settings, customer, steps),
    ...unprobed(customer, { site: to, half, provisions: false }, steps),
    ...(await blockedByArchive(site, customer, steps)),
  ];
}

/** A plan that cannot be approved names no snapshot. */
const nothingThere = (customer: string, site: string, point: Timestamp): RecoverySource => ({
  snapshot: { customer, site, gen: 0, seq: 0 },
  manifest: '',
  point,
  from: 'standby-copy',
  users: 0,
  applied: false,
});

const noMerge = (to: string, halves: readonly string[]): string =>
  `${to} has unsent changes of users of ${halves.join(' and ')}, and the runbook has no step reconcile-contacts: they would be lost`;

/** Whoever is asked outside is asked about all users of a home: most of a cohort's stay where they are. */
const optionsFor = ({ options }: CustomerSettings, half: string): CustomerSettings['options'] =>
  options.filter((option) => !isCohort(half) || (option !== 'third-party-federation' && option !== 'public-im'));

/** Who of that home is not here: nobody is to be missed. */
const elsewhere = (cohorts: readonly string[], halves: readonly string[], to: string): string[] =>
  cohorts
    .filter((half) => !halves.includes(half))
    .map(
      (half) => `users of ${half} are not among these: they are at ${to}, or move on their own (\`--half ${half}\`)`,
    );

const noRule = (to: string, halves: readonly string[]): string =>
  `${to} has unsent changes of users of ${halves.join(' and ')}: say whose change counts where both sites changed the same (\`--rule survivor|home|ask\`)`;
