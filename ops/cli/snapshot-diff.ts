import { InvalidArgumentError, type Command } from 'commander';
import { Database } from '../../activities/contacts/database.ts';
import { diffLive } from '../../activities/contacts/live-diff.ts';
import {
  diffSnapshots,
  noRowDifferences,
  type RowDifferences,
  type UserDifference,
} from '../../activities/vault/diff.ts';
import type { OpenSnapshot } from '../../activities/vault/open.ts';
import { plain, table, type Context } from './print.ts';
import { onShelf, openChosen, progress, sequence, verbOn, type OpenShelf, type Where } from './shelf.ts';

interface Options extends Where {
  from: number;
  to: number | 'live';
  limit: number;
  showNames?: boolean;
}

const LIMITS = { connections: 4, connectMs: 5000, statementMs: 600_000 };

export function registerDiff(group: Command, context: Context): void {
  verbOn(group, 'diff', 'who differs between two snapshots, or between one and the rows that stand in the database now')
    .requiredOption('--from <number>', 'a snapshot, by its number in `snapshot list`', sequence)
    .requiredOption('--to <number|live>', 'another one, or the database at --site', (text) =>
      text === 'live' ? text : sequence(text),
    )
    .option('--limit <users>', 'users who are listed, those with most changes first; --json lists all', many, 20)
    .option('--show-names', 'name users; else they are told by the id that stands for them in the vault')
    .action((o: Options) => onShelf(context, o, (open) => diff(context, open, o)));
}

function many(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('a whole number from 0 to 999,999 is allowed.');
  return Number(text);
}

/** One user as he is listed. */
interface Line extends Omit<UserDifference, 'username'> {
  user: string;
}

async function diff(context: Context, open: OpenShelf, o: Options): Promise<void> {
  const from = await openChosen(open, o.from);
  const to = o.to === 'live' ? null : await openChosen(open, o.to);
  const naming = await (to ?? from).index();
  const named = ({ username, ...rest }: UserDifference): Line => ({
    user: o.showNames ? username : naming.keyOfName(username).toString('hex'),
    ...rest,
  });
  const database = to ? null : databaseOf(open);
  const { keys } = open;
  const users = { added: 0, removed: 0, changed: 0 };
  const rows = noRowDifferences();
  const most = new Most(context.json() ? Infinity : o.limit);
  const tell = progress(context);
  try {
    const found = database
      ? diffLive({ database, snapshot: from, keys, signal: context.signal })
      : diffSnapshots(from, to ?? from);
    for await (const difference of found) {
      users[difference.how] += 1;
      for (const kind of kindsOf(rows)) {
        rows[kind].added += difference.rows[kind].added;
        rows[kind].removed += difference.rows[kind].removed;
      }
      most.add(named(difference));
      tell(() => `users who differ, so far: ${users.added + users.removed + users.changed}`);
    }
  } finally {
    await database?.close();
  }
  const lines = most.sorted();
  const answer = { from: from.summary, to: to?.summary ?? 'live', users, rows, different: lines };
  context.out.answer(answer, told(open, from, to, { users, rows, lines }));
}

function databaseOf({ settings, shelf }: OpenShelf): Database {
  const { databaseUrl = '' } = settings.customers.get(shelf.customer) ?? {};
  return new Database(`database of ${shelf.customer} at ${settings.site}`, databaseUrl, LIMITS);
}

/** The users with most changed rows, at most so many: the rest are only counted. */
class Most {
  private readonly limit: number;
  private lines: Line[] = [];

  constructor(limit: number) {
    this.limit = limit;
  }

  add(line: Line): void {
    this.lines.push(line);
    // Cut now and then: as cheap as a heap, and simpler.
    if (this.lines.length > 2 * this.limit + 1000) this.lines = this.sorted();
  }

  sorted(): Line[] {
    const by = (a: Line, b: Line): number => rowsOf(b.rows) - rowsOf(a.rows) || (a.user < b.user ? -1 : 1);
    return this.lines.toSorted(by).slice(0, this.limit);
  }
}

const words = {
  contacts: 'contacts',
  groups: 'groups',
  lists: 'lists',
  aclItems: 'ACL items',
  defaults: 'default lists',
} as const;
const kindsOf = (rows: RowDifferences): (keyof RowDifferences)[] => Object.keys(rows) as (keyof RowDifferences)[];
const rowsOf = (rows: RowDifferences): number =>
  Object.values(rows).reduce((sum, { added, removed }) => sum + added + removed, 0);

function told(
  { settings }: OpenShelf,
  from: OpenSnapshot,
  to: OpenSnapshot | null,
  { users, rows, lines }: { users: Record<UserDifference['how'], number>; rows: RowDifferences; lines: Line[] },
): string[] {
  const { seq, site, point } = from.summary;
  const other = to
    ? `snapshot ${to.summary.seq}, recovery point ${to.summary.point}`
    : `the rows that stand in the database at ${settings.site} now`;
  const all = users.added + users.removed + users.changed;
  const head = `From snapshot ${seq} of ${site}, recovery point ${point}, to ${other}:`;
  if (all === 0) return [head, '  nobody differs'];
  return [
    head,
    `  users: ${users.added} added, ${users.removed} removed, ${users.changed} changed`,
    ...table([
      ['', 'added', 'removed'],
      ...kindsOf(rows).map((kind) => [`  ${words[kind]}`, String(rows[kind].added), String(rows[kind].removed)]),
    ]),
    ...lines.map(({ user, how, rows: of }) =>
      `  ${plain(user)}  ${how}${how === 'changed' || rowsOf(of) > 0 ? ':' : ''} ${brief(of)}`.trimEnd(),
    ),
    ...(lines.length < all ? [`  and ${all - lines.length} more: --limit shows more of them, --json all`] : []),
  ];
}

/** `contacts +3 -1, ACL items +2`. */
function brief(rows: RowDifferences): string {
  return kindsOf(rows)
    .flatMap((kind) => {
      const { added, removed } = rows[kind];
      const parts = [...(added > 0 ? [`+${added}`] : []), ...(removed > 0 ? [`-${removed}`] : [])];
      return parts.length > 0 ? [`${words[kind]} ${parts.join(' ')}`] : [];
    })
    .join(', ');
}
