import type { Command } from 'commander';
import type { Client } from '@temporalio/client';
import { isOpen, type ExternalUpdate } from '../../workflows/model/external.ts';
import { isCohort } from '../../workflows/model/half.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { duration } from '../../workflows/model/rto.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { sitesToAsk } from '../config/here.ts';
import { coverageOf, openVaults, type Direction } from '../coverage.ts';
import { lackLines, lookAt } from '../customers/look.ts';
import type { CustomerState } from '../../workflows/model/customer.ts';
import { strandedMoves, strandedText, type StrandedMove } from '../stranded.ts';
import { connectClient } from '../temporal.ts';
import { scheduleIds } from '../../workflows/model/names.ts';
import { describeSchedule } from '../schedules.ts';
import { openUpdates, updateLine } from './external-update.ts';
import { servingRows, type ServingRow } from './serving-rows.ts';
import { exits, table, type Context } from './print.ts';
import { tellOperators } from './operators.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';
import { checkLines } from './status-checks.ts';
import { misfitOf, type Misfit, type Waiting } from './as-planned.ts';
import { halfStatus, unprotectedLine, type HalfStatus } from './status-half.ts';
import { nextOf } from './status-next.ts';
import { seenPeer } from './status-peer.ts';
import { failoverOf, noFailover, type FailoverLine } from './status-failover.ts';
import { testAlarms, testLines, testsStatus, type TestsStatus } from './status-test.ts';
import { differingAnswers, serviceLines, serviceStatus, type ServiceStatus } from './status-service.ts';
import { unsealedLine, unsealedMoves, type UnsealedMove } from './unsealed.ts';

export interface SiteStatus extends FailoverLine {
  site: string;
  temporal: 'answers' | 'silent';
  /** Of its moves, those that no worker goes on with. */
  stranded: StrandedMove[];
  nextTest: string | null;
  /** False: it has no credentials that may delete, and its vault grows for ever. */
  cleans: boolean;
}

interface CustomerStatus {
  halves: HalfStatus[];
  sites: SiteStatus[];
  /** Planned moves that wait for signatures, and should not be signed: the world is another one by now. */
  misfits: { waiting: Waiting; misfit: Misfit }[];
  /** What parties outside are still asked for. */
  external: ExternalUpdate[];
  /** Sites whose secrets are on machines of their own: what they see is told there. */
  elsewhere: string[];
  /** Sites from whose vault or database nothing could be judged, and why. */
  unseen: { site: string; because: string }[];
  /** Moves that have ended, whose evidence no vault holds yet. */
  unsealed: Omit<UnsealedMove, 'report'>[];
  /** Of sites that answer. */
  services: ServiceStatus[];
  /** How the answers differ by which two sites go. */
  directory: string | null;
  tests: TestsStatus;
  /** How it comes and goes: joining, protected, leaving, gone; null where its records cannot be read here. */
  customer: { state: CustomerState; since: string | null; lines: string[] } | null;
}

export function register(program: Command, context: Context): void {
  program
    .command('status')
    .description('protection and running moves, on one screen')
    .option('--customer <id>', 'only this one')
    .action(async ({ customer }: { customer?: string }) => {
      const configuration = await openConfiguration(context);
      const customers =
        customer === undefined ? [...configuration.customers.values()] : [customerOf(configuration, customer)];
      const all = await Promise.all(customers.map((c) => statusOf(context, configuration, c)));
      for (const one of all) show(context, one);
      await tellOperators(context, configuration);
    });
}

async function statusOf(
  { signal }: Context,
  configuration: Configuration,
  customer: CustomerConfiguration,
): Promise<CustomerStatus> {
  const from = await sitesToAsk(configuration, customer.sites);
  const [seen, rows, sites, external, unsealed, services, tests, look] = await Promise.all([
    Promise.allSettled(from.map((site) => directions(configuration, customer, site))),
    Promise.allSettled(from.map((site) => servingRows(configuration, customer, site))),
    Promise.all(customer.sites.map((site) => siteStatus(configuration, customer, site))),
    openUpdates(configuration, customer),
    unsealedMoves(configuration, customer),
    Promise.allSettled(from.map((site) => serviceStatus(configuration, customer, site))),
    testsStatus(configuration, customer, from, signal),
    // Vaults that do not answer, and secrets that are elsewhere, are told by the others.
    lookAt(configuration, customer.id, signal).catch(() => null),
  ]);
  const seenServices = services.flatMap((s) => (s.status === 'fulfilled' ? [s.value] : []));
  // Each site judges the other's half from its own vault: that is the copy which counts when the other is gone.
  const covered = seen.flatMap((s) => (s.status === 'fulfilled' ? s.value : [])).filter((d) => d.peerAnswers);
  const known = rows.flatMap((r) => (r.status === 'fulfilled' ? r.value : []));
  const serving = known.filter(({ open }) => open);
  return {
    halves: halvesIn(customer, known).map((half) =>
      halfStatus(customer, half, { serving, covered, services: seenServices }),
    ),
    sites,
    misfits: misfitsOf(sites, serving, seenServices),
    elsewhere: customer.sites.filter((site) => !from.includes(site)),
    unseen: seen.flatMap((s, i) =>
      s.status === 'rejected' ? [{ site: from[i] ?? '', because: failureText(s.reason) }] : [],
    ),
    external: external.updates.filter((u) => isOpen(u.state)),
    unsealed: unsealed.map(({ report: _whole, ...told }) => told),
    services: seenServices,
    directory: differingAnswers(customer, seenServices),
    tests,
    customer: look && {
      state: look.standing.state,
      since: look.standing.since,
      lines: lackLines(look.standing, look.lacks),
    },
  };
}

/** By the same looks as all the rest of the screen. */
function misfitsOf(
  sites: readonly SiteStatus[],
  serving: readonly ServingRow[],
  services: readonly ServiceStatus[],
): CustomerStatus['misfits'] {
  return sites.flatMap(({ site, waiting }) => {
    if (!waiting) return [];
    const others = sites.flatMap((s) => (s.site !== site && s.next !== null && s.kind !== null ? [`a ${s.kind}`] : []));
    const peers = services.flatMap(({ site: by, peer }) => (by === waiting.from ? seenPeer(peer) : []));
    const misfit = misfitOf(waiting, { serving, peers, others });
    return misfit ? [{ waiting, misfit }] : [];
  });
}

async function directions(
  configuration: Configuration,
  customer: CustomerConfiguration,
  site: string,
): Promise<Direction[]> {
  const settings = await siteOf(configuration, site).settings();
  const vaults = openVaults(settings);
  try {
    return await coverageOf(settings, vaults, customer.id);
  } finally {
    vaults.close();
  }
}

async function siteStatus(
  configuration: Configuration,
  customer: CustomerConfiguration,
  site: string,
): Promise<SiteStatus> {
  const { temporal, vault } = configuration.sites.get(site) ?? {};
  const cleans = Boolean(vault?.cleaner);
  let client: Client;
  try {
    client = await connectClient(temporal ?? { address: '', namespace: '' }, 3000);
  } catch {
    return { site, temporal: 'silent', ...noFailover, stranded: [], nextTest: null, cleans };
  }
  try {
    const test = await describeSchedule(client, scheduleIds.continuityTest(customer.id));
    const stranded = (await strandedMoves(client)).filter((move) => move.customer === customer.id);
    const failover =
      stranded.length > 0 ? { ...noFailover, failover: 'stands still' } : await failoverOf(client, customer.id);
    return {
      site,
      temporal: 'answers',
      ...failover,
      stranded,
      nextTest: test?.info.nextActionTimes[0]?.toISOString() ?? null,
      cleans,
    };
  } finally {
    await client.connection.close();
  }
}

function show({ out }: Context, status: CustomerStatus): void {
  const { halves, sites, misfits, external, elsewhere, unseen, unsealed, services, directory, tests, customer } =
    status;
  const rows = halves.map((h) => [
    h.customer,
    h.half,
    h.servedAt ?? 'unknown',
    h.state,
    h.point ?? '-',
    h.ageMs === null ? '-' : `${duration(h.ageMs)} of ${duration(h.rpoMs)}`,
  ]);
  out.answer(status, [
    ...table([['customer', 'users of', 'served at', 'state', 'recovery point', 'age'], ...rows]),
    ...(customer?.lines ?? []),
    ...halves.flatMap(unprotectedLine),
    ...halves.flatMap(({ half, suspect }) =>
      suspect ? [`SUSPECT: snapshot ${suspect.seq} of the users of ${half}: ${suspect.because}`] : [],
    ),
    ...halves.flatMap(checkLines),
    ...halves.flatMap(({ half, servedAt, quarantined }) =>
      quarantined.map(
        ({ site, users }) =>
          `QUARANTINE: ${users} users of ${half} ${site === servedAt ? 'are' : 'would'} not ${site === servedAt ? '' : 'be '}let in at ${site}: their block list cannot be read`,
      ),
    ),
    ...unseen.map(({ site, because }) => `NOT SEEN from ${site}: ${because}`),
    ...external.map((u) => `ASKED OUTSIDE: ${updateLine(u)}`),
    ...sites.flatMap((s) => s.stranded.map((move) => `STANDS STILL, seen at ${s.site}: ${strandedText(move)}`)),
    ...unsealed.map((u) => `NOT SEALED: ${unsealedLine(u)}`),
    ...misfits.map(
      ({ waiting: w, misfit }) =>
        `NOT AS PLANNED: the ${w.kind} from ${w.from} to ${w.to} is not to be signed: ${misfit.because}`,
    ),
    ...services.flatMap(serviceLines),
    ...(directory === null ? [] : [`DIRECTORY: ${directory}`]),
    ...testAlarms(tests),
    '',
    ...sites.map(siteLine),
    ...testLines(tests),
    ...elsewhere.map((site) => `What ${site} sees is told on its own machine: its secrets are not on this one.`),
  ]);
  const { exit, next, line, after } = nextOf(status);
  if (exit !== exits.done) process.exitCode = exit;
  if (line !== null) out.remark(line);
  out.next(next, after);
}

const siteLine = ({ site, temporal, failover, nextTest, cleans }: SiteStatus): string =>
  `${site}: Temporal ${temporal}; ${failover === null ? 'no move' : failover}; next continuity test ${nextTest?.slice(0, 10) ?? '-'}${cleans ? '' : '; NO CLEANER: its vault grows for ever'}`;

/** The customer's homes, but one whose users were all given the other; and cohorts of them that any database knows. */
const halvesIn = ({ sites }: CustomerConfiguration, serving: readonly ServingRow[]): string[] => [
  ...sites.filter((site) => serving.length === 0 || serving.some(({ half }) => half === site)),
  ...[...new Set(serving.map(({ half }) => half))].filter(isCohort).toSorted(),
];
