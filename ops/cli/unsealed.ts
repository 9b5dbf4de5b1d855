import { Database } from '../../activities/contacts/database.ts';
import { UNSEALED } from '../../activities/journal/seal.ts';
import type { FailoverReport } from '../../workflows/model/moves.ts';
import type { Configuration, CustomerConfiguration } from '../config/configuration.ts';
import { plain } from './print.ts';
import { siteOf } from './site.ts';

/** A move that has ended, whose evidence is not in its site's vault yet: the database has it. */
export interface UnsealedMove {
  move: string;
  /** The site whose journal it is. */
  site: string;
  endedAt: string;
  because: string;
  report: FailoverReport;
}

const LIMITS = { connections: 1, connectMs: 3000, statementMs: 3000 };

/** What the databases of both sites tell that answer: one that is away tells nothing, and neither does one whose secrets are elsewhere. */
export async function unsealedMoves(
  configuration: Configuration,
  customer: CustomerConfiguration,
): Promise<UnsealedMove[]> {
  const told = await Promise.allSettled(customer.sites.map((site) => unsealedAt(configuration, customer, site)));
  return told.flatMap((t) => (t.status === 'fulfilled' ? t.value : []));
}

async function unsealedAt(
  configuration: Configuration,
  { id }: CustomerConfiguration,
  site: string,
): Promise<UnsealedMove[]> {
  const found = (await siteOf(configuration, site).settings()).customers.get(id);
  if (!found) return [];
  const database = new Database(`database of ${id} at ${site}`, found.databaseUrl, LIMITS);
  try {
    const rows = await database.query<{
      move: string;
      ended_at: Date;
      not_sealed: string | null;
      closing: string;
      head: Buffer;
    }>(UNSEALED, [id]);
    return rows.map(({ move, ended_at: ended, not_sealed: because, closing, head }) => {
      const { report } = JSON.parse(closing) as { report: Omit<FailoverReport, 'journalHead'> };
      return {
        move,
        site,
        endedAt: ended.toISOString(),
        because: because ?? 'nobody has tried yet',
        report: { ...report, journalHead: head.toString('hex') },
      };
    });
  } finally {
    await database.close();
  }
}

/** For a screen. The worker of that site seals it when the vault is back. */
export const unsealedLine = ({ move, site, because }: Omit<UnsealedMove, 'report'>): string =>
  plain(`evidence: not sealed yet: move ${move} at ${site}: ${because}; its worker seals it once the vault takes it`);
