import type { Database } from '../contacts/database.ts';
import type { PackRef } from './pack-reader.ts';
import type { PackPlace } from './pack.ts';

/** What this site remembers of a pack in its own vault. */
export interface Opened {
  gen: number;
  sha256: string;
  /** Since it was last opened whole, in ms, by the database's clock. */
  ageMs: number;
  /** What was wrong with it then; null when nothing was. */
  because: string | null;
}

/** Of the snapshots that `site` took: the packs that were ever opened whole in this site's vault. */
export async function readOpened(database: Database, customer: string, site: string): Promise<Opened[]> {
  const rows = await database.query<{ gen: string; pack: string; age: string; because: string | null }>(
    `select gen::text, pack, (extract(epoch from now() - at) * 1000)::bigint::text as age, because
       from tandem.opened where customer = $1 and site = $2`,
    [customer, site],
  );
  return rows.map(({ gen, pack, age, because }) => ({ gen: Number(gen), sha256: pack, ageMs: Number(age), because }));
}

/** Packs of one generation that were opened whole within this time, and found good. */
export async function openedWithin(database: Database, place: PackPlace, ms: number): Promise<ReadonlySet<string>> {
  const opened = await readOpened(database, place.customer, place.site);
  const good = opened.filter((o) => o.gen === place.gen && o.because === null && isRecent(o, ms));
  return new Set(good.map(({ sha256 }) => sha256));
}

/** A time that lies ahead is no memory: the clock was put back since. */
export const isRecent = ({ ageMs }: Opened, ms: number): boolean => ageMs >= 0 && ageMs < ms;

/** Whether one of the packs of a snapshot could not be opened, the last time that was tried. */
export async function anyDamaged(database: Database, manifest: PackPlace & { packs: PackRef[] }): Promise<boolean> {
  const opened = await readOpened(database, manifest.customer, manifest.site);
  const bad = new Set(opened.flatMap((o) => (o.gen === manifest.gen && o.because !== null ? [o.sha256] : [])));
  return manifest.packs.some(({ sha256 }) => bad.has(sha256));
}

/** Remembers that a pack was opened whole right now. */
export async function noteOpened(
  database: Database,
  { customer, site, gen }: PackPlace,
  sha256: string,
  because: string | null,
): Promise<void> {
  await database.query(
    `insert into tandem.opened (customer, site, gen, pack, at, because) values ($1, $2, $3, $4, now(), $5)
     on conflict (customer, site, gen, pack) do update set at = excluded.at, because = excluded.because`,
    [customer, site, gen, sha256, because],
  );
}

/** Forgets packs of generations that are no longer there. */
export async function forgetOpened(
  database: Database,
  { customer, site }: Pick<PackPlace, 'customer' | 'site'>,
  keep: readonly number[],
): Promise<void> {
  await database.query('delete from tandem.opened where customer = $1 and site = $2 and gen <> all($3)', [
    customer,
    site,
    keep,
  ]);
}
