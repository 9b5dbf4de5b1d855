import { homeOf } from '../workflows/model/half.ts';
import { MOMENTARY } from '../activities/probes/services/momentary.ts';
import type { Database } from '../activities/contacts/database.ts';
import { Fault } from './fault.ts';

/** Who is to be in a cohort: by a file, by a share of all, or by the move that made them at home here. */

/** Accounts by which services are looked at, and of which half each is to be. */
export type Probes = ReadonlyMap<string, string>;

const ofProbes = (name: string, half: string, probes: Probes): string | null => {
  const of = probes.get(name);
  return of === undefined || of === half ? null : `is an account of the probes of ${of}`;
};

/** Faults that are told one by one; the rest as a number. */
const TOLD = 20;

/**
 * Reads one user a line: his name, or his address in the customer's domain. Empty lines and those that begin with `#` are passed
 * over. Every line that names nobody of this half is a fault, all of them in one error.
 */
export async function usersOfFile(
  database: Database,
  { file, text, half, domain, probes }: { file: string; text: string; half: string; domain: string; probes: Probes },
): Promise<string[]> {
  const lines = text
    .split(/\r?\n/)
    .map((line, i) => ({ at: i + 1, name: nameOf(line.trim(), domain) }))
    .filter(({ name }) => name !== '' && !name.startsWith('#'));
  const rows = await database.query<{ username: string; site: string }>(
    'select username, site from tandem.home where username = any($1)',
    [lines.map(({ name }) => name)],
  );
  const homes = new Map(rows.map(({ username, site }) => [username, site]));
  const seen = new Map<string, number>();
  const faults = lines.flatMap(({ at, name }) => {
    const home = homes.get(name);
    const before = seen.get(name);
    seen.set(name, before ?? at);
    const because =
      before === undefined ? (whyNot(home, half) ?? ofProbes(name, half, probes)) : `stands in line ${before} already`;
    return because === null ? [] : [`${file}:${at}: ${JSON.stringify(name.slice(0, 60))} ${because}`];
  });
  if (lines.length === 0) faults.push(`${file}: names nobody`);
  if (faults.length === 0) return [...seen.keys()];
  const more = faults.length > TOLD ? [`and ${faults.length - TOLD} more`] : [];
  throw new Fault(
    `${faults.length} fault${faults.length === 1 ? '' : 's'}; nothing was changed\n${[...faults.slice(0, TOLD), ...more].join('\n')}`,
    `One user of ${homeOf(half)} a line: a name, or an address in ${domain}.`,
  );
}

const nameOf = (line: string, domain: string): string =>
  line.toLowerCase().endsWith(`@${domain}`) ? line.slice(0, -domain.length - 1) : line;

function whyNot(home: string | undefined, half: string): string | null {
  if (home === undefined) return 'is nobody that this site knows';
  if (home === half || home === homeOf(half)) return null;
  return homeOf(home) === homeOf(half) ? `is of ${home} already` : `is at home at ${homeOf(home)}`;
}

/** A share of the users of a half, the same ones whenever it is asked for: 0 < share <= 100, in percent. At least one. */
export async function usersOfShare(
  database: Database,
  half: string,
  { share, probes }: { share: number; probes: Probes },
): Promise<string[]> {
  const rows = await database.query<{ username: string }>(
    `select username from tandem.home where site in ($1, $2) and username not like $3 and username <> all($5)
      order by md5(username), username
      limit (select greatest(1, round(count(*) * $4 / 100.0)) from tandem.home where site in ($1, $2) and username not like $3)`,
    [half, homeOf(half), MOMENTARY, share, [...probes].flatMap(([user, of]) => (of === half ? [] : [user]))],
  );
  return rows.map(({ username }) => username);
}

/** Those whom the move of this epoch has given their home, as far as it is their home still; a fault when it was nobody. */
export async function usersOfRehomed(database: Database, half: string, epoch: number): Promise<string[]> {
  const rows = await database.query<{ username: string }>(
    `select username from tandem.rehomed r join tandem.home h using (username)
      where r.epoch = $3 and r.home = $2 and h.site in ($1, $2) order by username collate "C"`,
    [half, homeOf(half), epoch],
  );
  if (rows.length > 0) return rows.map(({ username }) => username);
  throw new Fault(
    `--rehomed ${epoch}: no user of ${homeOf(half)} has his home by the move of epoch ${epoch}`,
    'Name the epoch that the report of that relocate tells: `tandem relocate report`.',
  );
}
