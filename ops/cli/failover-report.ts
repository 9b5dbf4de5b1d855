import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FailoverReport } from '../../workflows/model/moves.ts';
import { duration } from '../../workflows/model/rto.ts';
import { Fault } from '../fault.ts';
import type { Context } from './print.ts';
import { customerOf, openConfiguration, reportsFolder } from './site.ts';

/** The newest report, from the survivor's disk: it needs no Temporal. */
export async function showReport(context: Context, where: { customer?: string }): Promise<void> {
  const configuration = await openConfiguration(context);
  const customer = customerOf(configuration, where.customer);
  const folder = reportsFolder(configuration);
  const files = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json'));
  const reports = await Promise.all(
    files.map(async (name) => ({
      path: join(folder, name),
      found: JSON.parse(await readFile(join(folder, name), 'utf8')) as FailoverReport,
    })),
  );
  const newest = reports
    .filter((r) => r.found.customer === customer.id)
    .toSorted((a, b) => a.found.endedAt.localeCompare(b.found.endedAt))
    .at(-1);
  if (!newest)
    throw new Fault(
      `report of ${customer.id}: none in ${folder}`,
      '`tandem failover watch` shows a failover that still runs.',
    );
  const { found, path } = newest;
  context.out.answer(found, [
    `${found.customer}: ${found.from} → ${found.to}, ${found.outcome}`,
    `  lost at ${found.disruptedAt}, declared ${found.declaredAt} by ${found.requestedBy}: ${found.reason}`,
    `  approved ${found.approvedAt ?? 'never'} by ${found.approvals.map((a) => a.operator).join(', ') || 'nobody'}`,
    `  recovery point ${found.recoveryPoint ?? '-'}, ${found.recoveryPointAgeMs === null ? '' : duration(found.recoveryPointAgeMs)} before the loss`,
    `  restored ${found.restored?.users ?? 0} users, ${found.restored?.contacts ?? 0} contacts, ${found.restored?.aclItems ?? 0} ACL items; ${found.mismatches ?? 'not compared:'} rows differ`,
    `  RTO ${found.rtoMs === null ? 'not reached' : duration(found.rtoMs)} of ${found.rtoPromiseMs === null ? '-' : duration(found.rtoPromiseMs)}`,
    ...found.steps.map((s) => `  ${s.id}: ${s.state} ${s.summary}`),
    ...found.notTested.map((n) => `  not tested: ${n}`),
    `  evidence: journal head ${found.journalHead}, ${path}`,
  ]);
}
