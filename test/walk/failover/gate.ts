import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';

/** Of the advisory lock that a line waits for in its transaction. */
const GATE = 7_301_226;
/** A writer gives its statement up after 5 s at the earliest: what is done to it is done by then. */
const HELD_LIMIT_MS = 60_000;
const LOOK_MS = 10;

/**
 * Holds a move where one line of its journal is about to be written: the line is made, its transaction is open, and
 * nothing of it is to be seen yet. Once it is let go, a repeat of the line passes.
 */
export class Gate {
  private readonly client: Client;
  private armed = '';

  private constructor(client: Client) {
    this.client = client;
  }

  static async open(url: string): Promise<Gate> {
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query(`
      create schema if not exists walk;
      create table if not exists walk.armed (point text primary key);
      create or replace function walk.pass(point text) returns void language plpgsql as $$ begin
        if exists (select from walk.armed a where a.point = pass.point) then
          perform pg_advisory_xact_lock_shared(${GATE});
        end if;
      end $$;
      create or replace function walk.name(kind text, key text, body text) returns text immutable language sql as $$
        select case
          when key like 'effect/%' then 'effect-' || (body::jsonb->>'step')
          when kind = 'step' then 'step-' || (body::jsonb->>'step')
          when kind = 'phase' then 'phase-' || (body::jsonb->>'phase')
          when kind = 'signed' then 'signed-' || (body::jsonb->>'operator')
          else kind end $$;
      create or replace function walk.line() returns trigger language plpgsql as $$ begin
        perform walk.pass(walk.name(new.kind, new.key, new.body));
        return new;
      end $$;
      create or replace function walk.slot() returns trigger language plpgsql as $$ begin
        perform walk.pass('slot');
        return new;
      end $$;
      create or replace trigger walk before insert on tandem.journal for each row execute function walk.line();
      create or replace trigger walk before insert on tandem.move for each row execute function walk.slot()`);
    return new Gate(client);
  }

  /** From now on the first line of this name waits. */
  async arm(point: string): Promise<void> {
    this.armed = point;
    await this.client.query('delete from walk.armed');
    await this.client.query('insert into walk.armed values ($1)', [point]);
    await this.client.query('select pg_advisory_lock($1)', [GATE]);
  }

  async untilHeld(): Promise<void> {
    await this.until('no line came to the gate', () =>
      this.count(`select from pg_locks where locktype = 'advisory' and objid = ${GATE} and not granted`),
    );
  }

  /** Lets it go. A writer that is dead by now leaves no line: nobody commits it. */
  async letGo(): Promise<void> {
    await this.client.query('delete from walk.armed'); // No truncate: the writer has read it.
    await this.client.query('select pg_advisory_unlock_all()');
  }

  /** Lets it go and returns when it is there for all to see. */
  async letCommit(): Promise<void> {
    await this.letGo();
    const newest = 'select move from tandem.move order by started_at desc limit 1';
    const there =
      this.armed === 'slot'
        ? 'select from tandem.move where ended_at is null'
        : `select from tandem.journal where move = (${newest}) and walk.name(kind, key, body) = '${this.armed}'`;
    await this.until('the line was not committed', () => this.count(there));
  }

  /** Holds whatever looks into the journal, with no line of its own written, until the answer is called. */
  async holdReaders(url: string): Promise<() => Promise<void>> {
    const lock = new Client({ connectionString: url });
    await lock.connect();
    await lock.query('begin');
    await lock.query('lock table tandem.journal in access exclusive mode');
    return async () => {
      await lock.query('rollback');
      await lock.end();
    };
  }

  async untilReaders(waiting: number): Promise<void> {
    const readers = `select from pg_locks where relation = 'tandem.journal'::regclass and not granted`;
    await this.until(`${waiting} attempts did not come to the journal`, async () =>
      (await this.count(readers)) >= waiting ? 1 : 0,
    );
  }

  async close(): Promise<void> {
    await this.client.query('drop schema if exists walk cascade');
    await this.client.end();
  }

  private async count(query: string): Promise<number> {
    return (await this.client.query(query)).rows.length;
  }

  private async until(because: string, count: () => Promise<number>): Promise<void> {
    for (const deadline = Date.now() + HELD_LIMIT_MS; (await count()) === 0; await pause(LOOK_MS)) {
      if (Date.now() > deadline) throw new Error(`${because} within ${HELD_LIMIT_MS / 1000} s`);
    }
  }
}
