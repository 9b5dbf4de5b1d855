import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Database } from '../../activities/contacts/database.ts';
import { prepareContactDatabase } from '../../activities/contacts/prepare.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { scratchDatabase, type ScratchDatabase } from '../rig/databases.ts';
import { sql } from '../rig/sql.ts';

/** A worker that starts while a move is under way: each start prepares the database. */

/** Longer than a start may wait for anybody's lock. */
const STATEMENT_MS = 4000;

let scratch: ScratchDatabase;
let step: Client;
beforeEach(async () => {
  scratch = await scratchDatabase('west');
  await prepare('first');
  step = new Client({ connectionString: scratch.url });
  await step.connect();
});
afterEach(async () => {
  await step.end();
  await scratch.drop();
});

async function prepare(who: string): Promise<void> {
  const database = new Database(who, scratch.url, { connections: 1, connectMs: 5000, statementMs: STATEMENT_MS });
  try {
    await prepareContactDatabase(database, 'contoso', 'west', ['east', 'west']);
  } finally {
    await database.close();
  }
}

/** As a step that has written what it did and not committed it yet; a worker that stands still leaves it like that. */
async function beginStep(): Promise<void> {
  await step.query('begin');
  await step.query("select from tandem.epoch where customer = 'contoso' for share");
  await step.query(
    `insert into tandem.move (move, customer, kind, workflow_id, phase, input, started_at)
     values ('m', 'contoso', 'failover', 'failover/contoso', 'moving', '{}', now())`,
  );
  await step.query(
    `insert into tandem.ledger (username, served_by, gen, seq, record_id, epoch) values ('u', 'east', 1, 1, '', 2)`,
  );
}

describe('a database that stands already', () => {
  it('is prepared again without waiting for a step that is under way', async () => {
    await beginStep();
    await prepare('second');
    await step.query('commit');
    expect(await sql(scratch.url, 'select move from tandem.move')).toEqual([{ move: 'm' }]);
  });

  it('of an older schema is not waited for longer than others can bear, and is brought up to date when it is free', async () => {
    await sql(scratch.url, "update tandem.identity set schema = 'older'");
    await beginStep();
    const refused = await prepare('second').then(() => '', failureText);
    expect(refused).toMatch(/lock timeout/);
    // Nobody who came after it is still kept waiting.
    expect(await sql(scratch.url, 'select count(*)::int as n from tandem.serving')).toEqual([{ n: 2 }]);
    await step.query('commit');
    await prepare('second');
    expect(await sql(scratch.url, 'select length(schema) as digest from tandem.identity')).toEqual([{ digest: 64 }]);
  });

  it('of a version that knew neither closings nor signs of life gets both, and is not taken for one that was down', async () => {
    await sql(scratch.url, 'drop table tandem.closed, tandem.alive, tandem.site_word, tandem.site_opened');
    await sql(scratch.url, "update tandem.identity set schema = 'older'");
    await prepare('second');
    expect(await sql(scratch.url, `select now() - at < interval '1 minute' as lives from tandem.alive`)).toEqual([
      { lives: true },
    ]);
    expect(await sql(scratch.url, 'select from tandem.closed')).toEqual([]);
    // Later versions do not make it younger: who was down, was down.
    await sql(scratch.url, "update tandem.alive set at = now() - interval '1 hour'");
    await sql(scratch.url, "update tandem.identity set schema = 'older'");
    await prepare('third');
    expect(await sql(scratch.url, `select now() - at > interval '59 minutes' as old from tandem.alive`)).toEqual([
      { old: true },
    ]);
  });

  it('is refused when a table in our own schema hides one of the service', async () => {
    await sql(scratch.url, 'create table tandem.rosterusers (username text)');
    expect(await prepare('second').then(() => '', failureText)).toMatch(
      /tandem\.rosterusers hide the service's own tables; drop those of schema tandem/,
    );
  });

  it('of another site is refused, whatever its schema', async () => {
    await sql(scratch.url, "update tandem.identity set site = 'east'");
    expect(await prepare('second').then(() => '', failureText)).toMatch(/says it is that of contoso at east/);
  });
});
