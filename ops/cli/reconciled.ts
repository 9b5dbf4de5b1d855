import type { Command } from 'commander';
import { previewReconciliation, readReconciled } from '../../activities/services/reconcile.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { openSite } from '../../activities/services/site.ts';
import { keyOf, recordKeys } from '../../activities/vault/keys.ts';
import { failureText } from '../../workflows/model/failures.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { broughtTogether } from '../../workflows/model/planned-move.ts';
import type { Configuration } from '../config/configuration.ts';
import { sitesToAsk } from '../config/here.ts';
import { Fault } from '../fault.ts';
import { plain, table, wholeNumber, type Context } from './print.ts';
import { customerOf, openConfiguration, siteOf } from './site.ts';

/** Who is brought together by a way home, before and after it. Names are personal data: shown to whoever asks for them. */

export interface Naming {
  limit: number;
  showNames?: boolean;
}

export const namingOptions = (command: Command): Command =>
  command
    .option('--limit <users>', 'users who are listed; --json lists all', wholeNumber, 20)
    .option('--show-names', 'name users; else they are told by the id that stands for them in the vault');

/** The id of a user in this customer's snapshots. */
function idsOf(site: OwnSite, customer: string): (username: string) => string {
  const { keys } = site.customer(customer);
  const { userKey } = recordKeys(keyOf(keys, keys.current, 'users'));
  return (username) => userKey(Buffer.from(username)).toString('hex');
}

/** Why somebody is not the same on both sides, in words. */
const reasons: Record<string, string> = {
  'one-sided': 'changed on one side',
  alike: 'changed alike',
  conflict: 'changed on both, by the rule',
  open: 'changed on both, left open',
  'deny-kept': 'a denial is kept',
  gone: 'gone from the directory',
  'not-salvaged': 'not in the salvage',
};

/** What the reconciliation of a plan would do now, without doing it; nothing where there is none. */
export async function preview(context: Context, site: OwnSite, { decisions }: Plan, o: Naming): Promise<void> {
  const { customer } = decisions;
  const all = broughtTogether(decisions);
  if (all.length === 0) {
    context.out.answer(null, `Nothing is to be brought together: ${decisions.to} has nothing of these users alone.`);
    return;
  }
  const id = idsOf(site, customer);
  const most = context.json() ? Infinity : o.limit;
  const lines: { user: string; changes: boolean; because: Partial<Record<string, number>> }[] = [];
  const hear = ({
    username,
    ...user
  }: {
    username: string;
    changes: boolean;
    because: Partial<Record<string, number>>;
  }) => {
    if (lines.length < most) lines.push({ user: o.showNames ? username : id(username), ...user });
  };
  const work = { heartbeat: () => undefined, signal: context.signal };
  const counts = await previewReconciliation(site, customer, all, hear, work);
  context.out.answer({ preview: counts, users: lines }, [
    '',
    `Preview: ${counts.users} users are not the same on both sides; rows of ${counts.changes} would be written at ${decisions.from}.`,
    ...Object.entries(counts.byReason).flatMap(([why, n]) => (n > 0 ? [`  ${n}: ${reasons[why] ?? why}`] : [])),
    ...(counts.suspect === null ? [] : [`  The salvage is SUSPECT: ${counts.suspect}`]),
    ...table(lines.map(({ user, changes, because }) => [`  ${plain(user)}`, changes ? 'written' : '', words(because)])),
    ...more(counts.users - lines.length),
  ]);
}

const words = (because: Partial<Record<string, number>>): string =>
  Object.entries(because)
    .map(([why, n]) => `${reasons[why] ?? why}${(n ?? 1) > 1 ? ` (${n})` : ''}`)
    .join(', ');

const more = (left: number): string[] =>
  left > 0 ? [`  and ${left} more: --limit shows more of them, --json all`] : [];

interface Listed extends Naming {
  customer?: string;
  site?: string;
  move?: string;
  user?: string;
}

/** Who was brought together, by the databases of the sites that did it: it is nowhere else. */
export function registerReconciled(group: Command, context: Context): void {
  namingOptions(
    group
      .command('reconciled')
      .description('who was brought together, and what differed; by the database of the site where that was done')
      .option('--site <site>', 'the site where that was done (default: whichever has somebody)')
      .option('--customer <id>', 'needed when there is more than one')
      .option('--move <id>', 'of this move only')
      .option('--user <name>', 'of this user only, with all that differed'),
  ).action((o: Listed) => list(context, o));
}

async function list(context: Context, o: Listed): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, o.customer);
  const sites = o.site === undefined ? await sitesToAsk(configuration, customer.sites) : [o.site];
  const asked = await Promise.allSettled(sites.map((site) => reconciledAt(configuration, customer.id, site, o)));
  const silent = asked.flatMap((a) => (a.status === 'rejected' ? [a.reason as unknown] : []));
  if (silent.length === sites.length) throw silent[0];
  const all = asked.flatMap((a) => (a.status === 'fulfilled' ? a.value : []));
  for (const error of silent) context.out.say(`Not all were asked: ${failureText(error)}`);
  if (all.length === 0 && o.user !== undefined)
    throw new Fault(
      `user ${JSON.stringify(o.user)}: nobody of ${customer.id} by that name was brought together at ${sites.join(' or ')}`,
      'Compare the spelling: the part before the @, as the service stores it. Who had no change on either side is not listed.',
    );
  const shown = all.slice(0, o.limit);
  context.out.answer(
    all,
    all.length === 0
      ? `Nobody of ${customer.id} was brought together at ${sites.join(' or ')}.`
      : [
          ...table([
            ['user', 'at', 'when', '', ''],
            ...shown.map((u) => [plain(u.user), u.site, u.at, u.written ? 'written' : 'stood so', words(u.because)]),
          ]),
          ...(o.user === undefined
            ? more(all.length - shown.length)
            : all.flatMap(({ differences = [] }) => told(differences))),
        ],
  );
}

/** Of one site; who differed in what is told of a user who is named. */
async function reconciledAt(configuration: Configuration, customer: string, name: string, o: Listed) {
  const site = openSite(await siteOf(configuration, name).settings());
  try {
    const id = idsOf(site, customer);
    const all = await readReconciled(site, customer, { move: o.move ?? null, username: o.user ?? null });
    return all.map(({ username, differences, ...rest }) => ({
      user: o.showNames || o.user !== undefined ? username : id(username),
      site: name,
      ...rest,
      because: countBy(differences.map(({ why }) => why)),
      ...(o.user !== undefined && { differences }),
    }));
  } finally {
    await site.close();
  }
}

const told = (
  differences: readonly { kind: string; key: readonly (string | null)[]; won: string; why: string }[],
): string[] =>
  differences.map(({ kind, key, won, why }) =>
    plain(`  ${kind} ${key.map((part) => part ?? '-').join(' ')}: ${reasons[why] ?? why}, as of ${won}`),
  );

function countBy(whys: readonly string[]): Partial<Record<string, number>> {
  const counts: Partial<Record<string, number>> = {};
  for (const why of whys) counts[why] = (counts[why] ?? 0) + 1;
  return counts;
}
