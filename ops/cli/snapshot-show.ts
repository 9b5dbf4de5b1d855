import type { Command } from 'commander';
import { isAccepted, readAcceptances } from '../../activities/vault/accept.ts';
import { readReceipt } from '../../activities/vault/catalog.ts';
import { linked } from '../../activities/vault/generation.ts';
import { manifestKey, type Manifest } from '../../activities/vault/manifest.ts';
import { readManifest, type OpenSnapshot } from '../../activities/vault/open.ts';
import { packKey } from '../../activities/vault/pack-reader.ts';
import { keyHistory, type KeyHistory } from '../../activities/vault/versions.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs, type Acceptance, type Receipt, type Timestamp } from '../../workflows/model/snapshots.ts';
import { PEER_LIMIT_MS } from '../coverage.ts';
import { Fault } from '../fault.ts';
import { counted, table, type Context } from './print.ts';
import { onShelf, openChosen, sequence, verbOn, type OpenShelf, type Where } from './shelf.ts';
import { showUser } from './snapshot-user.ts';

interface Options extends Where {
  seq?: number;
  user?: string;
  showContents?: boolean;
}

export function registerShow(group: Command, context: Context): void {
  verbOn(group, 'show', 'what is known of one, or what it holds of a user')
    .option('--seq <number>', 'its number, as `snapshot list` shows it (default: the newest)', sequence)
    .option('--user <name>', 'how much it holds of this user; printed is the id that stands for him in the vault')
    .option('--show-contents', 'with --user: print his name, contacts and lists')
    .action((o: Options) =>
      onShelf(context, o, async (open) => {
        if (o.showContents && o.user === undefined)
          throw new Fault('--show-contents: shows a user, and none is named', 'Name one: --user NAME.');
        const snapshot = await openChosen(open, o.seq);
        if (o.user !== undefined) await showUser(context, snapshot, o.user, o.showContents === true);
        else await show(context, open, snapshot);
      }),
    );
}

async function show(context: Context, open: OpenShelf, snapshot: OpenSnapshot): Promise<void> {
  const { settings, shelf } = open;
  const { manifest, summary } = snapshot;
  const oldest = manifest.packs.at(-1);
  const [before, covered, history, packHistory] = await Promise.all([
    previousOf(open, manifest),
    coveredBy(open, snapshot),
    keyHistory(settings.vault, manifestKey(summary), context.signal),
    oldest && keyHistory(settings.vault, packKey(manifest, oldest.sha256), context.signal),
  ]);
  const facts = {
    vault: shelf.vault.site,
    snapshot: summary,
    ageMs: ageMs(manifest.point, Date.now()),
    kind: summary.gen === summary.seq ? ('base' as const) : ('delta' as const),
    clock: manifest.clock,
    database: manifest.database,
    wal: manifest.wal,
    schema: manifest.schema,
    postgres: manifest.postgres,
    ownerless: manifest.ownerless,
    setHash: manifest.setHash,
    base: manifest.base,
    /** What this one alone has written; null when the one before it cannot be read here. */
    alone: before.alone,
    keyIds: [...new Set(manifest.packs.map(({ keyId }) => keyId))],
    previous: manifest.previous && { ...manifest.previous, state: before.state },
    ...covered,
    manifestVersions: history,
    lockedUntil: history.versions[0]?.lockedUntil ?? null,
    oldestPackLockedUntil: packHistory?.versions[0]?.lockedUntil ?? null,
  };
  context.out.answer(facts, told(facts));
}

interface Facts extends CoveredBy {
  vault: string;
  snapshot: OpenSnapshot['summary'];
  ageMs: number;
  kind: 'base' | 'delta';
  clock: Timestamp;
  database: string;
  wal: string;
  schema: string;
  postgres: number;
  ownerless: number;
  base: Manifest['base'];
  alone: { packs: number; bytes: number } | null;
  keyIds: string[];
  previous: (NonNullable<Manifest['previous']> & { state: string }) | null;
  manifestVersions: KeyHistory;
  lockedUntil: Timestamp | null;
  oldestPackLockedUntil: Timestamp | null;
}

/** How the link to the one before it stands, and what this one added to its packs. */
async function previousOf(
  { shelf }: OpenShelf,
  { customer, site, gen, seq, packs, previous }: Manifest,
): Promise<{ state: string; alone: Facts['alone'] }> {
  const sum = (some: Manifest['packs']): Facts['alone'] => ({
    packs: some.length,
    bytes: some.reduce((bytes, pack) => bytes + pack.bytes, 0),
  });
  const whole = gen === seq ? sum(packs) : null;
  if (!previous) return { state: '', alone: whole };
  try {
    const before = await readManifest({ ...shelf, id: linked({ customer, site, gen, seq }, previous) });
    if (!before) return { state: 'not in this vault', alone: whole };
    if (before.summary.manifest !== previous.manifest) return { state: 'ANOTHER MANIFEST STANDS THERE', alone: whole };
    const old = new Set(before.manifest.packs.map(({ sha256 }) => sha256));
    return { state: 'holds', alone: whole ?? sum(packs.filter(({ sha256 }) => !old.has(sha256))) };
  } catch (error) {
    const kind = failureKind(error);
    if (kind !== 'signature-invalid' && kind !== 'snapshot-damaged' && kind !== 'snapshot-format') throw error;
    return { state: `DAMAGED: ${failureText(error)}`, alone: whole };
  }
}

interface CoveredBy {
  /** That of the other site; null when there is none, or its vault did not tell. */
  receipt: Receipt | null;
  /** Why nothing is known of a receipt. */
  receiptUnknown: string | null;
  acceptances: Acceptance[];
  accepted: boolean;
}

/** What the covering site says: its receipts lie in its own vault, which may be the one that is looked into. */
async function coveredBy(open: OpenShelf, { summary }: OpenSnapshot): Promise<CoveredBy> {
  const { shelf, peer, vaults } = open;
  const nothing = { receipt: null, acceptances: [], accepted: false };
  const own = shelf.vault.site === peer;
  const vault = own ? shelf.vault : vaults.peer(peer);
  if (!vault) return { ...nothing, receiptUnknown: `the vault of ${peer} is not configured here` };
  const limit = AbortSignal.timeout(PEER_LIMIT_MS);
  const signals = [...(shelf.signal ? [shelf.signal] : []), ...(own ? [] : [limit])];
  const there = { ...shelf, vault, signal: AbortSignal.any(signals) };
  try {
    const receipt = await readReceipt(there, peer, summary);
    const all =
      receipt?.suspect === undefined ? [] : await readAcceptances(vault, there, peer, there.publicKeys, there.signal);
    const acceptances = receipt ? all.filter((a) => isAccepted(receipt, [a])) : [];
    return { receipt, receiptUnknown: null, acceptances, accepted: acceptances.length > 0 };
  } catch (error) {
    if (failureKind(error) === 'signature-invalid')
      return { ...nothing, receiptUnknown: `FORGED: ${failureText(error)}` };
    if (own || shelf.signal?.aborted || !(limit.aborted || failureKind(error) === 'vault-unreachable')) throw error;
    return { ...nothing, receiptUnknown: `the vault of ${peer} does not answer` };
  }
}

function told(facts: Facts): string[] {
  const { snapshot, kind, base, previous, alone } = facts;
  const { site, seq, gen, point, counts } = snapshot;
  const upon = previous && kind === 'delta' ? ` upon ${previous.seq}; base ${gen} of ${base.point}` : '';
  const size = (of: { packs: number; bytes: number }): string => `${counted(of.packs, 'pack')}, ${of.bytes} bytes`;
  return [
    `Snapshot ${seq} of ${site} in the vault of ${facts.vault}`,
    ...table([
      ['  recovery point', `${point}, ${duration(facts.ageMs)} ago`],
      ['  kind', `${kind}${upon}`],
      ['  epoch', String(snapshot.epoch)],
      [
        '  holds',
        `${counts.users} users, ${counts.contacts} contacts, ${counts.groups} groups, ${counts.lists} lists, ${counts.aclItems} ACL items, ${counts.defaults} default lists`,
      ],
      ['  left out', `${facts.ownerless} ACL items that belong to no list`],
      ['  this one alone', alone ? size(alone) : 'unknown: the one before it cannot be read here'],
      ['  with what it stands on', size(snapshot)],
      ['  key', facts.keyIds.join(', ') || 'none: it has no pack'],
      ['  previous', previous ? `${previous.seq}: ${previous.state}` : 'none: it is the first'],
      ['  manifest', snapshot.manifest],
      [
        '  database',
        `${facts.database}, PostgreSQL ${facts.postgres}, at ${facts.wal}, schema ${facts.schema.slice(0, 16)}`,
      ],
      ["  reader's clock", clockOf(facts)],
      ['  verified', receiptOf(facts)],
      ...facts.acceptances.map((a) => ['  accepted', `by ${a.operator} at ${a.at}: ${a.because}`]),
      ['  locked until', lockOf(facts)],
      ...versionsOf(facts.manifestVersions),
    ]),
  ];
}

function clockOf({ clock, snapshot }: Facts): string {
  const apart = Date.parse(clock) - Date.parse(snapshot.point);
  if (Math.abs(apart) < 1000) return `${clock}, as the database's`;
  return `${clock}, ${duration(Math.abs(apart))} ${apart < 0 ? 'behind' : 'ahead of'} the database's`;
}

function receiptOf({ receipt, receiptUnknown, accepted, snapshot }: Facts): string {
  if (receiptUnknown !== null) return `unknown: ${receiptUnknown}`;
  if (!receipt) return 'not yet';
  const by = `by ${receipt.site} at ${receipt.verifiedAt}`;
  if (receipt.manifest !== snapshot.manifest) return `${by}, BUT ANOTHER MANIFEST: it covers nothing`;
  if (receipt.suspect === undefined) return by;
  return `${by}, SUSPECT: ${receipt.suspect}${accepted ? '' : '; nobody has accepted it'}`;
}

function lockOf({ lockedUntil, oldestPackLockedUntil }: Facts): string {
  if (lockedUntil === null) return 'not locked, or these credentials cannot see it';
  return oldestPackLockedUntil === null || oldestPackLockedUntil >= lockedUntil
    ? lockedUntil
    : `${lockedUntil}; its oldest pack until ${oldestPackLockedUntil}`;
}

/** Keys are written once: anything more was done by somebody else. */
function versionsOf({ versions, markers }: KeyHistory): string[][] {
  if (versions.length < 2 && markers.length === 0) return [];
  const later = [
    ...versions.slice(1).map((v) => `written over at ${v.at}`),
    ...markers.map((m) => `hidden by a delete marker at ${m.at}`),
  ];
  return [['  TAMPERED WITH', `${later.join(', ')}; the oldest version that holds is read`]];
}
