import type { Plan, Step } from '../../workflows/model/plan.ts';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import type { OwnSite } from '../services/site.ts';
import type { CustomerSettings } from '../settings.ts';
import { DestinationArchive, type ArchiveTable } from './destination.ts';

/** This site's own archive, as it tells its peer of it. */
export async function ownArchive(database: Database): Promise<ArchiveTable> {
  const [table] = await database.query<ArchiveTable & Record<string, unknown>>(
    'select state, columns from tandem.observe_archive()',
  );
  if (!table) throw failure('database-wrong', `${database.name}: says nothing of its archive`);
  return table;
}

/** Why the destination's archive cannot take what this site's has, and what to do; null when it can. */
export function unfit(
  { own, to }: { own: string; to: string },
  here: ArchiveTable,
  there: ArchiveTable | null,
): string | null {
  if (here.state === 'missing') return null;
  if (!there) return `${to}: it takes no archived messages: bring its worker to this version`;
  if (there.state === 'missing')
    return `${to}: its database has no table archive: ejabberd there keeps none, or elsewhere (ops/ARCHIVING.md)`;
  if (there.state === 'refused')
    return `${to}: its role of Tandem may not write it: \`grant select, insert, delete on archive to tandem\` there, and usage on its sequence (ops/ARCHIVING.md)`;
  const lacking = here.columns.filter((column) => !there.columns.includes(column));
  return lacking.length === 0
    ? null
    : `${to}: it has no ${lacking.join(', ')}, as the archive of ${own} has: bring both to one schema of ejabberd`;
}

/** What would hold a step that brings archived messages: it is said before anybody signs. A silent destination is told of elsewhere. */
export async function blockedByArchive(
  site: OwnSite,
  customer: CustomerSettings,
  steps: readonly Step[],
): Promise<Plan['blockers']> {
  const step = steps.find(({ act }) => act === 'reconcile-archive');
  if (!step) return [];
  const { id, peer } = customer;
  const there = new DestinationArchive(customer);
  try {
    const [here, table] = [await ownArchive(site.database(id)), await there.look()];
    const why = unfit({ own: site.settings.site, to: peer }, here, table);
    return why === null ? [] : [{ kind: 'destination-unready', text: `step ${step.id}: archive of ${id} at ${why}` }];
  } catch (error) {
    if (failureKind(error) === 'destination-unreachable') return [];
    return [{ kind: 'destination-unready', text: `step ${step.id}: ${failureText(error)}` }];
  } finally {
    await there.close();
  }
}
