import type { Again } from '../../workflows/model/again.ts';
import { loadRunbook } from '../../runbooks/load.ts';
import { makeForecast } from '../../workflows/model/forecast.ts';
import type { Closing } from '../../workflows/model/closing.ts';
import type { FailoverInput } from '../../workflows/model/moves.ts';
import { canonicalJson, type Isolation, type Named, type Plan } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import { readState, tellState } from '../directory/answer.ts';
import { byName } from '../../workflows/model/half.ts';
import { rtoClock } from '../../workflows/model/clock.ts';
import type { Database } from '../contacts/database.ts';
import { observeSource } from '../probes/source.ts';
import { readWatched, STALE_MS } from '../probes/watch/stored.ts';
import { closedProof, proveSurvivor } from '../probes/survivor.ts';
import type { CustomerSettings } from '../settings.ts';
import { nextEpoch } from '../vault/epochs.ts';
import { sha256 } from '../vault/signed.ts';
import { againNotes, findAgain, unknownClaim, whereServed } from './again.ts';
import { capacityOf } from './capacity.ts';
import { claimsInReach } from './claims.ts';
import { cohortsAt } from './cohorts.ts';
import { readClosing } from './closed.ts';
import { unseen } from './configured.ts';
import { blockersOf, decide, whoSawItServe } from './decide.ts';
import { readFork } from './fork.ts';
import { checkInput } from './input.ts';
import { countLedger, lossOf, oldestAcceptable, type LedgerCounts } from './loss.ts';
import { measuredTimes, timesInDatabase } from './measured.ts';
import { readOperators } from './operators.ts';
import { keepSigned } from './signed-plan.ts';
import { ifOnlyCutOff } from './self-fenced.ts';
import type { OwnSite } from './site.ts';
import { chooseSource } from './sources.ts';

/**
 * Looks at the world and binds the runbook to it. What the lost site is asked has limits, and so has this site's vault, so
 * this takes seconds however much is lost. The same world gives the same decisions: no time is in them but those of the
 * input and the snapshot. In a `move`, what people have signed stands while the world has only drifted.
 */
export async function makePlan(
  site: OwnSite,
  { input: typed, declaredAt, move }: { input: FailoverInput; declaredAt: Timestamp; move?: string },
  { signal }: { signal?: AbortSignal } = {},
): Promise<Plan> {
  const { input, customer } = checkInput(site, typed, Date.parse(declaredAt));
  const { half = input.from } = input;
  const at = await whereServed(site, customer, half);
  const cohorts = await cohortsAt(site.database(customer.id), customer.id, half, at);
  const disruptedAt = new Date(input.disruptedAt ?? declaredAt).toISOString();
  const wanted = { halves: [...cohorts, half], disruptedAt, recoveryPoint: input.recoveryPoint ?? null };
  const world = await look(site, customer, wanted, signal);
  const { source } = world.chosen;
  const already = { ...wanted, source, behind: unknownClaim(world, move) };
  const found = at === customer.peer ? null : await findAgain(site, customer, already, signal);
  const again = found?.again ?? null;
  const { seen, survivor, ledger, carries, operators, silentSince } = world;
  const { rpoMs, rtoMs } = customer.objectives;
  const isolation: Isolation = {
    verdict: seen.verdict,
    observers: seen.observers,
    statement: input.isolation?.trim() ?? null,
  };
  const { oldest, ...sources } = oldestAcceptable(world.chosen, { disruptedAt, rpoMs, again });
  const users = ledger.all;
  const asked = { input, half, cohorts, disruptedAt, isolation, oldest, again, doubt: found?.doubt ?? null };
  const { looked, accepted } = fromWorld(site, customer, asked, world);
  const decisions = await keepSigned(site, move, looked);
  const clock = rtoClock({ declaredAt, disruptedAt: input.disruptedAt ? disruptedAt : null, silentSince });
  const forecast = makeForecast(decisions.steps, users, world.times);
  const targetRtoMs = customer.target.rtoMs;
  const servingAccepted = input.sourceIsServing === true && whoSawItServe(isolation) !== null;
  return {
    decisions,
    digest: sha256(canonicalJson(decisions)),
    ...sources,
    ...(operators.notAdmitted.length > 0 && { notAdmitted: operators.notAdmitted }),
    acceptances: named(decisions.acceptances ?? [], accepted),
    ...((!again || again.base) && { loss: lossOf(ledger, sources.source, disruptedAt) }),
    undelivered: seen.undelivered,
    capacity: { ...carries, moves: users },
    forecast,
    clock,
    decideBy: decideBy(clock.from, forecast.p75Ms, { target: targetRtoMs, promise: rtoMs }),
    rpoMs,
    rtoMs,
    targetRtoMs,
    observed: seen.because,
    survivor,
    notes: [...notesOf(site, customer, { isolation, input, half, again, ...world }), ...unseen(customer, half)],
    blockers: blockersOf(
      site,
      customer,
      { half, isolation, steps: decisions.steps, fork: world.fork, ledger, again: found },
      servingAccepted,
    ),
    madeAt: new Date().toISOString(),
  };
}

interface Asked {
  input: FailoverInput;
  half: string;
  cohorts: string[];
  disruptedAt: Timestamp;
  isolation: Isolation;
  oldest: Timestamp;
  again: Again | null;
  doubt: string | null;
}

/** What people decide by, of all that was seen. */
function fromWorld(
  site: OwnSite,
  customer: CustomerSettings,
  { input, half, cohorts, disruptedAt, isolation, oldest, again, doubt }: Asked,
  { runbook, seen, survivor, claimed, ledger, carries, operators }: Awaited<ReturnType<typeof look>>,
): ReturnType<typeof decide> {
  return decide(site, customer, {
    half,
    cohorts,
    disruptedAt,
    epoch: nextEpoch(claimed.claims, Math.max(ledger.epoch, seen.claimed, seen.epoch?.number ?? 0)),
    runbook,
    isolation,
    oldest,
    users: ledger.all,
    servingSeenBy: input.sourceIsServing ? whoSawItServe(isolation) : null,
    again,
    doubt,
    ownUnserved: ledger.ownUnserved,
    othersThere: ledger.othersThere,
    capacity: { ...carries, moves: ledger.all },
    unproven: survivor.filter((proof) => !proof.ok).map(({ name, told }) => `${name}: ${told}`),
    operators: operators.admitted,
  });
}

/** Everything that is looked at, at once; each look has a limit of its own. */
async function look(
  site: OwnSite,
  customer: CustomerSettings,
  wanted: { halves: readonly string[]; disruptedAt: Timestamp; recoveryPoint: Timestamp | null },
  signal: AbortSignal | undefined,
) {
  const database = site.database(customer.id);
  // One connection for both: many plans may be made at once.
  const inDatabase = database.connection(
    async (client) =>
      [
        await countLedger(client, customer, wanted.halves),
        await timesInDatabase(client, customer.id),
        customer.directory ? tellState(await readState(client, customer.id), Date.now()) : null,
        await readClosing(client, customer.id),
        await readFork(client, customer.id),
      ] as const,
  );
  const known = inDatabase.then(([, times]) => times);
  const [
    runbook,
    seen,
    proofs,
    claimed,
    [ledger, , directory, closing, fork],
    carries,
    chosen,
    times,
    operators,
    silentSince,
  ] = await Promise.all([
    // Now, and not when the worker starts: what people sign is what lies on disk.
    loadRunbook(customer.runbooks.get('failover'), { kind: 'failover' }),
    observeSource(site.settings, customer, signal),
    proveSurvivor(site, customer, signal),
    claimsInReach(site, customer.id, signal),
    inDatabase,
    capacityOf(site, customer, signal),
    chooseSource(site, customer, wanted, signal),
    measuredTimes(site, customer.id, known, signal),
    readOperators(database, site.settings.operators),
    silentSinceWhen(database, customer),
  ]);
  const survivor = [...proofs, ...closedProof(closing)];
  return {
    runbook,
    seen,
    survivor,
    claimed,
    ledger,
    carries,
    chosen,
    times,
    operators,
    directory,
    closing,
    fork,
    silentSince,
  };
}

/** Since when the peer's client port answers nobody, by this site's watch; null when that does not say, or has not looked for long. */
async function silentSinceWhen(database: Database, { id, peer }: CustomerSettings): Promise<Timestamp | null> {
  const watched = await readWatched(database, id, peer);
  return watched && watched.ageMs < STALE_MS && watched.verdict !== 'serving' ? watched.silentSince : null;
}

interface Noted {
  ledger: Pick<LedgerCounts, 'othersThere'>;
  isolation: Isolation;
  input: FailoverInput;
  half: string;
  again: Again | null;
  directory: string | null;
  closing: Closing | null;
}

/** What nobody is asked to accept, and everybody should know. */
function notesOf(
  { settings }: OwnSite,
  customer: CustomerSettings,
  { isolation: { verdict }, input: { disruptedAt }, half, again, directory, closing, ledger }: Noted,
): string[] {
  const { peer } = customer;
  const notes: string[] = [...(directory === null ? [] : [directory]), ...againNotes(settings.site, half, again)];
  if (closing)
    notes.push(`${settings.site} itself is closed since ${closing.since} (${closing.because}): serve-users opens it`);
  for (const other of byName(ledger.othersThere))
    notes.push(
      `${peer} serves users of ${other} too, who do not move: nobody does until \`--half ${other}\` moves them`,
    );
  if (disruptedAt === undefined)
    notes.push(
      'the clocks count from the declaration, because nobody said when the site was lost (`--disrupted-at TIME`)',
    );
  if (!settings.witness) notes.push('no witness is configured: a lost site is never known to be dead');
  notes.push(ifOnlyCutOff(settings, customer));
  if (verdict === 'dead')
    notes.push('dead is what its observers found, and they look from here: a site that is only cut off looks the same');
  return notes;
}

/** What each name means; one that was signed and is no longer needed says so. */
const named = (names: readonly string[], accepted: readonly Named[]): Named[] =>
  names.map((name) => accepted.find((a) => a.name === name) ?? { name, because: 'signed, and no worse since' });

/** The last moment to sign at which each limit can still be kept, even at the pace of p75. */
function decideBy(
  disruptedAt: Timestamp,
  walkMs: number,
  { target, promise }: Record<'target' | 'promise', number>,
): NonNullable<Plan['decideBy']> {
  const by = (limitMs: number): Timestamp => new Date(Date.parse(disruptedAt) + limitMs - walkMs).toISOString();
  return { target: by(target), promise: by(promise) };
}
