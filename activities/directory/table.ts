import { failure, failureText } from '../../workflows/model/failures.ts';
import type { Database } from '../contacts/database.ts';
import { READING_LIMITS, type Directory, type Entitled, type ReadingLimits } from './port.ts';

const PAGE = 1000;

/** The directory as a table of the site's own database, for a stack without another one. */
export function tableDirectory(database: Database, limits: ReadingLimits = READING_LIMITS): Directory {
  const name = `table tandem.directory of the ${database.name}`;
  return {
    name,
    async *entitled(outer) {
      const late = AbortSignal.timeout(limits.wholeMs);
      let read = 0;
      for (let after: string | null = null; ;) {
        outer.throwIfAborted();
        const rows: Row[] = await pageAfter(database, name, after);
        outer.throwIfAborted();
        if (late.aborted)
          throw failure('directory-unreachable', `${name}: no whole answer within ${limits.wholeMs / 1000} s`);
        read += rows.length;
        if (read > limits.most)
          throw failure('directory-incomplete', `${name}: more than ${limits.most} users, which is the limit`);
        if (rows.length > 0) yield rows.map(entitledOf);
        if (rows.length < PAGE) return;
        after = rows.at(-1)?.username ?? null;
      }
    },
  };
}

interface Row {
  username: string;
  home: string | null;
  credentials: string | null;
}

const entitledOf = ({ username, home, credentials }: Row): Entitled => ({
  username,
  home,
  credentials: credentials === null ? [] : [credentials],
});

async function pageAfter(database: Database, name: string, after: string | null): Promise<Row[]> {
  try {
    return await database.query<Row & Record<string, unknown>>(
      `select username, home, credentials from tandem.directory
        where $1::text is null or username collate "C" > $1 order by username collate "C" limit ${PAGE}`,
      [after],
    );
  } catch (error) {
    throw failure('directory-unreachable', `${name}: ${failureText(error)}`);
  }
}
