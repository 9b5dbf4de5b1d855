import { dirname } from 'node:path';
import { options } from '../../workflows/model/conditions.ts';
import { cadenceHolds } from '../../workflows/model/snapshots.ts';
import { duration } from '../../workflows/model/rto.ts';
import type { Cursor, Source } from '../../runbooks/yaml.ts';
import type { Configuration, CustomerConfiguration, SecretReference, SiteConfiguration } from './configuration.ts';
import { linksOf } from './capacity.ts';
import { continuityOf } from './continuity.ts';
import { directoryOf } from './directory.ts';
import { filterOf } from './filter.ts';
import { enoughOperators, operatorOf, somebodyDeclares } from './operators.ts';
import { partiesOf } from './parties.ts';
import { probesOf } from './probes.ts';
import { secretOf, sourceOf } from './references.ts';
import { runbooksOf } from './runbooks.ts';
import { selfFenceOf } from './self-fence.ts';
import { siteOf } from './sites.ts';
import { backendsOf, dnsOf } from './traffic.ts';
import { unique } from './unique.ts';
import { witnessOf } from './witness.ts';

/** The rules of `tandem.yaml`. Every fault is noted where it stands, and reading goes on: all are reported at once. */

const HOUR = 3_600_000;
/** What the service promises (SERVICE): a customer may have better, never worse. */
const PROMISED = { rpoMs: 8 * HOUR, rtoMs: 24 * HOUR };

export function parse(source: Source, file: string): Configuration {
  const top = source.root.fields(['sites', 'customers', 'operators', 'witness']);
  const sites = new Map(top.sites.entries('site').map(([site, at]) => [site, siteOf(site, at)]));
  const customers = new Map(
    top.customers.entries('customer').map(([id, at]) => [id, customerOf(id, at, sites, top.witness.present)]),
  );
  unique(
    top.customers,
    [...customers.values()].map((c) => [c.dns?.zone ?? '', c.id]),
    'the same zone',
  );
  unique(
    top.customers,
    [...customers.values()].flatMap((c) => (c.backends ?? []).map(({ backend }): [string, string] => [backend, c.id])),
    'the same backend',
  );
  const operators = top.operators.entries('operator').map(([id, at]) => operatorOf(id, at));
  unique(
    top.sites,
    [...sites.values()].map((s) => [`${s.vault.endpoint}/${s.vault.bucket}`, s.site]),
    'the same vault',
  );
  unique(
    top.sites,
    [...sites.values()].map((s) => [s.publicKey, s.site]),
    'the same signing key',
  );
  unique(
    top.sites,
    [...sites.values()].map((s) => [s.temporal.address, s.site]),
    'the same Temporal service',
  );
  unique(
    top.operators,
    operators.map((o) => [o.key, o.id]),
    'the same key',
  );
  enoughOperators(top.operators, operators);
  somebodyDeclares(top.operators, operators);
  const { bucket: witness, url: witnessUrl } = witnessOf(top.witness, sites);
  return { file, folder: dirname(file), sites, customers, operators, witness, witnessUrl };
}

const customerKeys = [
  'domain',
  'sites',
  'databases',
  'keys',
  'options',
  'objectives',
  'target',
  'snapshots',
  'continuity-test',
  'limits',
  'parties',
  'directory',
  'probes',
  'filter',
  'runbooks',
  'links',
  'traffic',
  'dns',
  'proxy',
  'self-fence',
] as const;

function customerOf(
  id: string,
  at: Cursor,
  known: ReadonlyMap<string, SiteConfiguration>,
  hasWitness: boolean,
): CustomerConfiguration {
  const f = at.fields(customerKeys);
  const sites = sitesOf(f.sites, [...known.keys()]);
  const bought = f.options.present ? f.options.listOf(options) : [];
  const channels = new Map(sites.map((site) => [site, [...(known.get(site)?.channels.keys() ?? [])]]));
  const { currentKey, keys } = keysOf(f.keys);
  return {
    id,
    domain: f.domain.text('a domain is expected, such as contoso.example', (d) =>
      /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(d),
    ),
    sites,
    databases: databasesOf(f.databases, sites),
    currentKey,
    keys,
    options: bought,
    parties: partiesOf(f.parties, { options: bought, channels }),
    directory: directoryOf(f.directory, sites),
    filter: filterOf(f.filter),
    ...timesOf(f),
    continuityTest: continuityOf(f['continuity-test']),
    links: linksOf(f.links, sites),
    trafficBytesPerSecond: f.traffic.rate(),
    dns: dnsOf(f.dns, sites),
    backends: backendsOf(f.proxy, sites, known),
    limits: { contacts: f.limits.present ? f.limits.fields(['contacts']).contacts.integer(1, 100_000, 250) : 250 },
    probes: probesOf(f.probes, sites, known),
    runbooks: runbooksOf(f.runbooks),
    selfFenceMs: selfFenceOf(f['self-fence'], hasWitness),
  };
}

function sitesOf(at: Cursor, known: string[]): readonly [string, string] {
  const items = at.items();
  // One that is not known is a fault once: all else that is said of it is read as if it were.
  const named = items.map((item) => item.oneOf(known, item.written()));
  const [first = '', second = ''] = named;
  if (items.length !== 2)
    at.fault(`${items.length} sites; exactly two are expected: the pair that stands in for each other`);
  else if (first === second) at.fault(`${first} twice; a site cannot stand in for itself`);
  return [first, second];
}

function databasesOf(at: Cursor, sites: readonly [string, string]): CustomerConfiguration['databases'] {
  const fields = at.fields(sites);
  const found = new Map<string, { url: SecretReference; peerUrl: SecretReference }>();
  for (const [site, place] of Object.entries(fields)) {
    const { url, 'peer-url': peerUrl } = place.fields(['url', 'peer-url']);
    found.set(site, { url: secretOf(url), peerUrl: secretOf(peerUrl) });
  }
  unique(
    at,
    [...found].map(([site, d]) => [sourceOf(d.url), site]),
    'the same database',
  );
  return found;
}

function keysOf(at: Cursor): { currentKey: string; keys: ReadonlyMap<string, SecretReference> } {
  const { current, ring } = at.fields(['current', 'ring']);
  const keys = new Map(ring.entries('key').map(([id, place]) => [id, secretOf(place)]));
  const sources = [...keys].map(([id, reference]): [string, string] => [sourceOf(reference), `key ${id}`]);
  unique(ring, sources, 'the same source');
  return { currentKey: keys.size > 0 ? current.oneOf([...keys.keys()]) : '', keys };
}

type Times = Pick<CustomerConfiguration, 'objectives' | 'target' | 'snapshots'>;

function timesOf(f: Record<(typeof customerKeys)[number], Cursor>): Times {
  const of = <K extends string>(at: Cursor, keys: readonly K[]): Record<K, Cursor> | null =>
    at.present ? at.fields(keys) : null;
  const o = of(f.objectives, ['rpo', 'rto']);
  const t = of(f.target, ['rpo', 'rto']);
  const s = of(f.snapshots, ['every', 'between', 'budget', 'pull-limit']);
  const objectives = {
    rpoMs: o?.rpo.duration(PROMISED.rpoMs) ?? PROMISED.rpoMs,
    rtoMs: o?.rto.duration(PROMISED.rtoMs) ?? PROMISED.rtoMs,
  };
  const target = { rpoMs: t?.rpo.duration(3 * HOUR) ?? 3 * HOUR, rtoMs: t?.rto.duration(HOUR / 2) ?? HOUR / 2 };
  const snapshots = {
    everyMs: s?.every.duration(8 * HOUR) ?? 8 * HOUR,
    betweenMs: s?.between.duration(2 * HOUR) ?? 2 * HOUR,
    budgetMs: s?.budget.duration(HOUR / 2) ?? HOUR / 2,
    pullBytesPerSecond: s?.['pull-limit'].rate() ?? null,
  };
  if (objectives.rpoMs > PROMISED.rpoMs) o?.rpo.fault(`${o.rpo.seen()}; the service promises 8h: only less is allowed`);
  if (objectives.rtoMs > PROMISED.rtoMs)
    o?.rto.fault(`${o.rto.seen()}; the service promises 24h: only less is allowed`);
  if (target.rpoMs > objectives.rpoMs)
    t?.rpo.fault(`${t.rpo.seen()}; a target beyond the promise of ${duration(objectives.rpoMs)} is none`);
  if (target.rtoMs > objectives.rtoMs)
    t?.rto.fault(`${t.rto.seen()}; a target beyond the promise of ${duration(objectives.rtoMs)} is none`);
  if (snapshots.betweenMs > snapshots.everyMs)
    s?.between.fault(`${s.between.seen()}; it stands between the full reads, so it is not longer than every`);
  const { betweenMs, budgetMs } = snapshots;
  if (!cadenceHolds(betweenMs, budgetMs, objectives.rpoMs)) {
    const sum = duration(2 * betweenMs + budgetMs);
    (s ? f.snapshots : f.objectives).fault(
      `2 × between (${duration(betweenMs)}) + budget (${duration(budgetMs)}) = ${sum}; at most the rpo of ${duration(objectives.rpoMs)} is allowed, or one failed run breaks it`,
    );
  }
  return { objectives, target, snapshots };
}
