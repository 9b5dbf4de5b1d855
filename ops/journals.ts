import { listMoves, type HeldMove, type JournalShelf } from '../activities/journal/read.ts';
import { S3Vault } from '../activities/vault/s3.ts';
import { failureText } from '../workflows/model/failures.ts';
import type { Configuration, CustomerConfiguration } from './config/configuration.ts';
import { publicKeysOf, vaultAccess } from './config/settings.ts';
import { Fault } from './fault.ts';

/** A lost site's vault is worth no more: its peer's has a copy. */
const LIMITS = { connectMs: 1500, requestMs: 8000, attempts: 2, callMs: 20_000 };

/** A move as the vaults know it. */
export interface FoundMove {
  move: string;
  /** The site whose journal it is: the survivor. */
  site: string;
  /** Where it lies: the site's own vault first, then its peer's copy. */
  sources: { shelf: JournalShelf; held: HeldMove }[];
}

export interface Journals {
  moves: FoundMove[];
  /** Vaults that did not answer, and why: what they hold is not in here. */
  silent: string[];
  close: () => void;
}

/**
 * The journals of a customer in the vaults of both sites, read with the rights of a peer: no Temporal, no database and no
 * private key is needed, and one vault that answers is enough.
 */
export async function openJournals(
  configuration: Configuration,
  customer: CustomerConfiguration,
  { site, signal }: { site?: string | undefined; signal: AbortSignal },
): Promise<Journals> {
  const { id, sites } = customer;
  if (site !== undefined && !sites.includes(site))
    throw new Fault(`site ${JSON.stringify(site)}: ${id} is at ${sites.join(' and ')}`, 'Name one of the two.');
  const publicKeys = publicKeysOf(configuration);
  const vaults: S3Vault[] = [];
  const found = await Promise.allSettled(
    (site === undefined ? sites : [site]).map(async (name) => {
      const at = configuration.sites.get(name);
      if (!at) throw new Fault(`site ${name}: not in ${configuration.file}`, '`tandem config check` names the place.');
      const vault = new S3Vault(await vaultAccess(configuration, at, at.vault.reader), LIMITS);
      vaults.push(vault);
      const of = async (owner: string): Promise<FoundMove['sources']> => {
        const shelf = { vault, customer: id, site: owner, publicKeys, signal };
        return (await listMoves(shelf)).map((held) => ({ shelf, held }));
      };
      return (await Promise.all(sites.map(of))).flat();
    }),
  );
  const close = (): void => vaults.forEach((vault) => vault.close());
  const silent = found.flatMap((f) => (f.status === 'rejected' ? [failureText(f.reason)] : []));
  const all = found.flatMap((f) => (f.status === 'fulfilled' ? f.value : []));
  if (silent.length < found.length) return { moves: together(all), silent, close };
  close();
  throw new Fault(
    `vaults of ${id}: none answers: ${silent.join('; ')}`,
    'Look at the vaults and at the credentials of their readers: `tandem doctor`.',
  );
}

function together(all: FoundMove['sources']): FoundMove[] {
  const moves = new Map<string, FoundMove>();
  const own = ({ shelf }: FoundMove['sources'][number]): number => (shelf.vault.site === shelf.site ? 0 : 1);
  for (const source of all.toSorted((a, b) => own(a) - own(b))) {
    const { site } = source.shelf;
    const { move } = source.held;
    const found = moves.get(`${site}/${move}`) ?? { move, site, sources: [] };
    moves.set(`${site}/${move}`, found);
    found.sources.push(source);
  }
  return [...moves.values()];
}

/** What the first source gives that can be read, and whose vault that was; the first one's fault when none can. */
export async function readFirst<T>(
  { sources }: FoundMove,
  read: (shelf: JournalShelf, held: HeldMove) => Promise<T>,
): Promise<{ value: T; from: string }> {
  let fault: unknown = null;
  for (const { shelf, held } of sources) {
    try {
      return { value: await read(shelf, held), from: shelf.vault.site };
    } catch (error) {
      fault ??= error;
    }
  }
  throw fault;
}
