import type { PoolClient, QueryResultRow } from 'pg';
import type { Epoch } from '../../workflows/model/epoch.ts';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import { Database } from '../contacts/database.ts';
import type { CustomerSettings } from '../settings.ts';
import type { Place } from './reading.ts';

/** Nothing here takes longer: a batch holds the destination's epoch, and nobody may have to wait for that. */
const LIMITS = { connections: 1, connectMs: 5000, statementMs: 10_000 };

/** What a site's own database says of its archive. */
export interface ArchiveTable {
  state: 'missing' | 'refused' | 'ready';
  /** Each with its type. */
  columns: string[];
}

/** How far the rows of these users have been brought, as the destination's database has it. */
export interface Stand extends Place {
  looked: number;
  brought: number;
  strangers: number;
}

interface Lacking {
  lacking: number[];
  strangers: number[];
}

/** What is brought for, and under which claim. */
export interface Bringing {
  halves: readonly string[];
  /** One for all rounds of a step: a later one goes on where the one before has ended. */
  key: string;
  epoch: Epoch;
}

/** What becomes of the stand with a batch of rows, none perhaps. */
export interface Batch {
  columns: readonly string[];
  /** Where the stand was read to be; null: nothing was brought yet. */
  from: Place | null;
  to: Place;
  looked: number;
  strangers: number;
}

/** The archive of the site where users are served now, by the functions that its database has for its peer. */
export class DestinationArchive {
  private readonly customer: CustomerSettings;
  private readonly database: Database;

  constructor(customer: CustomerSettings) {
    this.customer = customer;
    this.database = new Database(`archive of ${customer.id} at ${customer.peer}`, customer.peerDatabaseUrl, LIMITS);
  }

  close(): Promise<void> {
    return this.database.close();
  }

  /** Null: one of an older version, which takes nothing. */
  async look(): Promise<ArchiveTable | null> {
    const [peer] = await this.ask<{ takes: boolean }>(
      `select to_regprocedure('tandem.observe_archive()') is not null as takes`,
    );
    if (peer?.takes !== true) return null;
    const [table] = await this.ask<ArchiveTable>('select state, columns from tandem.observe_archive()');
    return table ?? null;
  }

  /** Which of the rows told are not there, counted from one; and which are of nobody in these halves there. */
  async lacks(halves: readonly string[], told: string): Promise<Lacking> {
    const [answer] = await this.ask<Lacking & Record<string, unknown>>(
      'select lacking, strangers from tandem.archive_lacks($1, $2)',
      [halves, told],
    );
    return answer ?? { lacking: [], strangers: [] };
  }

  /** How the step stands there; null before anything was brought. Refuses as `take` does. */
  async stand(bringing: Bringing): Promise<Stand | null> {
    return this.call(bringing, null, null);
  }

  /** Brings rows, and answers how the step stands after them, in one transaction there. */
  async take(bringing: Bringing, rows: string, batch: Batch): Promise<Stand> {
    const stand = await this.call(bringing, rows, batch);
    if (!stand) throw failure('database-wrong', `${this.database.name}: took rows, and has no stand`);
    return stand;
  }

  private async call(
    { halves, key, epoch }: Bringing,
    rows: string | null,
    batch: Batch | null,
  ): Promise<Stand | null> {
    const { id, peer } = this.customer;
    const [answer] = await this.ask<{ outcome: string; newest: string | null; stand: Stand | null }>(
      'select outcome, newest::text, stand from tandem.take_archive($1, $2, $3, $4, $5, $6, $7, $8)',
      [id, halves, key, epoch.number, epoch.site, epoch.move, rows, batch && JSON.stringify(batch)],
    );
    const of = `archive of ${id} at ${peer}`;
    const held = `its database holds epoch ${answer?.newest ?? 'none'}, this move is of ${epoch.number}`;
    const { outcome = 'nothing', stand = null } = answer ?? {};
    switch (outcome) {
      case 'taken':
        return stand;
      case 'refused':
        throw failure('epoch-superseded', `${of}: ${held}`);
      case 'forked':
        throw failure('forked', `${of}: epoch ${epoch.number} was claimed by another move as well`);
      case 'behind':
        throw failure('destination-behind', `${of}: ${held}`);
      case 'not-its-own':
        throw failure('destination-behind', `${of}: not all of ${halves.join(' and ')} is ${peer}'s to serve there`);
      case 'overtaken':
        throw failure('attempt-running', `${of}: another attempt of this step has gone on meanwhile`);
      case 'differs':
        throw failure('archive-unfit', `${of}: its columns were changed meanwhile`);
      default:
        throw failure('database-wrong', `${of}: answered ${outcome}`);
    }
  }

  private async ask<Row extends QueryResultRow>(sql: string, values: unknown[] = []): Promise<Row[]> {
    const { name } = this.database;
    const query = (client: PoolClient): Promise<Row[]> =>
      client.query<Row>(sql, values).then(
        ({ rows }) => rows,
        (error: unknown) => {
          throw withoutValues(error, name);
        },
      );
    try {
      return await this.database.connection(query);
    } catch (error) {
      if (failureKind(error) !== 'database-unreachable') throw error;
      throw failure('destination-unreachable', failureText(error));
    }
  }
}

/** Classes of SQLSTATE whose text may quote a row: data, constraints, and what triggers of others say. */
const QUOTES = /^(?:2[237]|3[89]|44|P0)/;

/** What is archived goes into no history and no log: of such an error its code has to do. */
function withoutValues(error: unknown, name: string): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return QUOTES.test(code) ? failure('archive-unfit', `${name}: it refuses a row (SQLSTATE ${code})`) : error;
}
