import type { Command } from 'commander';
import { inspectDirectory, type DirectoryLook } from '../../activities/directory/inspect.ts';
import { inspectBucket, judgeBucket, type Finding } from '../../activities/vault/bucket.ts';
import { inspectDatabase, inspectPeerDatabase } from '../../activities/contacts/inspect.ts';
import { inspectCertificates } from '../../activities/services/certificates.ts';
import { inspectModules } from '../../activities/services/modules.ts';
import { inspectPeerService, inspectService, noService } from '../../activities/services/inspect.ts';
import { judgeCleaner, noCleaner } from '../../activities/vault/judge-cleaner.ts';
import type { ManagementAccess, SiteSettings, VaultAccess } from '../../activities/settings.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';
import { inspectTraffic } from '../../activities/traffic/inspect.ts';
import { judgeWitness, noWitness, sharedWitness } from '../../activities/vault/judge-witness.ts';
import { sitesToAsk } from '../config/here.ts';
import { operatorFindings, unadmitted } from './operators.ts';
import { exits, type Context } from './print.ts';
import { openConfiguration, siteOf } from './site.ts';

/** What a snapshot does not hold, whatever the buckets are like: said each time, so that nobody learns it too late. */
const NOT_COVERED = 'Not covered by snapshots: shared rosters, private storage, vCards, archives, uploaded files.';
const FIT =
  'All vaults, databases, services, directories, name servers and proxies, and the witness, do what they must, and nobody may do more than he needs.';

export function register(program: Command, context: Context): void {
  program
    .command('doctor')
    .description(
      'tries what vaults, databases, services, directories, name servers and proxies must do, and what the credentials of each site may do to them',
    )
    .option('--site <site>', 'only as this site sees it (default: every site whose secrets are here)')
    .action(async ({ site }: { site?: string }) => {
      const configuration = await openConfiguration(context);
      const all = [...configuration.sites.keys()];
      const names = site === undefined ? await sitesToAsk(configuration, all) : [site];
      const sites = await Promise.all(
        names.map(async (name) => [name, await siteOf(configuration, name).settings()] as const),
      );
      const [found, inspected] = await Promise.all([
        Promise.all(
          sites.map(async ([name, settings]) => [
            ...(await examine(name, settings, context.signal)),
            ...(await unadmitted(configuration, name)).map((finding) => ({ ...finding, from: name })),
          ]),
        ),
        Promise.all(sites.map((of) => examineDirectories(...of, context.signal))),
      ]);
      const accounts = sites.flatMap(([name, { witness }]) => (witness ? [[name, witness.accessKeyId] as const] : []));
      const shared = sharedWitness(new Map(accounts)).map((finding) => ({ ...finding, from: 'both' }));
      const directories = inspected.flat();
      const findings = [
        ...operatorFindings(configuration).map((f) => ({ ...f, from: 'the configuration' })),
        ...found.flat(),
        ...directories.flatMap((d) => d.findings.map((f) => ({ ...f, from: d.look.site }))),
        ...shared,
      ];
      const looks = directories.map(({ look }) => look);
      show(context, findings, looks);
      for (const name of site === undefined ? all.filter((one) => !names.includes(one)) : [])
        context.out.say(`Not looked at: what ${name} sees. Its secrets are on its own machine; ask there as well.`);
    });
}

type Seen = Finding & { from: string };

/** A site's own vault as its writer and as its cleaner, and its databases; those of its peers as their peer. */
async function examine(from: string, settings: SiteSettings, signal: AbortSignal): Promise<Seen[]> {
  const bucket = async (access: VaultAccess, role: 'own' | 'peer'): Promise<Finding[]> =>
    judgeBucket(await inspectBucket(access, { signal }), role);
  const { cleaner, vault, witness } = settings;
  const managementOf = (site: string): ManagementAccess | null => settings.services.get(site)?.management ?? null;
  const management = managementOf(from);
  const found = await Promise.all([
    bucket(vault, 'own'),
    cleaner ? inspectBucket(cleaner, { signal }).then(judgeCleaner) : [noCleaner(vault)],
    witness ? inspectBucket(witness, { signal }).then(judgeWitness) : [noWitness],
    ...[...settings.peerVaults.values()].map((access) => bucket(access, 'peer')),
    ...[...settings.customers.values()].flatMap((customer) => [
      inspectCertificates(settings, customer),
      inspectModules(settings, customer),
      inspectTraffic(settings, customer, signal),
    ]),
    ...[...settings.customers.values()].flatMap(({ id, domain, peer, options, databaseUrl, peerDatabaseUrl }) => [
      inspectDatabase(databaseUrl, { customer: id, site: from, archives: options.includes('content-archiving') }),
      inspectPeerDatabase(peerDatabaseUrl, { customer: id, site: peer }),
      management ? inspectService(management, { site: from, domain }) : [noService({ site: from, domain })],
      ...[managementOf(peer)].flatMap((access) => (access ? [inspectPeerService(access, { site: peer, domain })] : [])),
    ]),
  ]);
  return found.flat().map((finding) => ({ ...finding, from }));
}

/** Each customer's directory, as this site asks it. */
async function examineDirectories(
  site: string,
  { customers }: SiteSettings,
  signal: AbortSignal,
): Promise<Awaited<ReturnType<typeof inspectDirectory>>[]> {
  return Promise.all(
    [...customers.values()].flatMap((customer) => {
      const { directory } = customer;
      return directory ? [inspectDirectory({ site, customer, directory, signal })] : [];
    }),
  );
}

const lookLine = ({ site, customer, entitled, tookMs, at }: DirectoryLook): string => {
  const answers = entitled === null ? 'no answer' : `${entitled} users entitled, told in ${duration(tookMs)}`;
  const inForce = at === null ? 'none in force' : `the answer in force is ${duration(ageMs(at, Date.now()))} old`;
  return `Directory of ${customer}, asked as ${site}: ${answers}; ${inForce}.`;
};

function show({ out }: Context, found: Seen[], directories: DirectoryLook[]): void {
  const errors = found.filter(({ severity }) => severity === 'error');
  out.answer({ findings: found, directories, notCovered: NOT_COVERED }, [
    ...found.flatMap((f) => [`${f.severity}, seen from ${f.from}: ${f.subject}: ${f.observed}`, `  Try: ${f.try}`]),
    ...(found.length === 0 ? [FIT] : []),
    ...directories.map(lookLine),
    NOT_COVERED,
  ]);
  if (errors.length > 0) process.exitCode = exits.failed;
}
