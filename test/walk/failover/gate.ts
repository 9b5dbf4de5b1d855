import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';

/** Of the advisory lock that a line waits for in its transaction; one database has one gate. */
const GATE = 7_301_226;
/** A planned move copies twice before it comes to its last lines, on a machine that others use too. */
const HELD_LIMIT_MS = 180_000;
const LOOK_MS = 50;

/**
 * Holds a move where one line of its journal is about to be written, or what it does at its destination: the line
 * is made, its transaction is open, and
 * nothing of it is to be seen yet. Once it is let go, a repeat of the line passes.
 */
export class Gate {
  private readonly url: string;
  private client: Client;

  private constructor(url: string, client: Client) {
    this.url = url;
    this.client = client;
  }

  static async open(url: string): Promise<Gate> {
    const client = await connected(url);
    await client.query(`
      create schema if not exists walk;
      create table if not exists walk.armed (point text primary key);
      create table if not exists walk.passed (point text);
      create or replace function walk.pass(point text) returns void language plpgsql as $$ begin
        if exists (select from walk.armed a where a.point = pass.point) then
          perform pg_advisory_xact_lock_shared(${GATE});
          insert into walk.passed values (point);
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
      create or replace function walk.epoch() returns trigger language plpgsql as $$ begin
        if new.number <> old.number then perform walk.pass('follow'); end if;
        return new;
      end $$;
      create or replace function walk.applied() returns trigger language plpgsql as $$ begin
        perform walk.pass('applied');
        return new;
      end $$;
      create or replace function walk.given() returns trigger language plpgsql as $$ begin
        if new.site = (select site from tandem.identity) and (tg_op = 'INSERT' or new.site <> old.site) then
          perform walk.pass('given');
        end if;
        return new;
      end $$;
      create or replace trigger walk before insert on tandem.journal for each row execute function walk.line();
      create or replace trigger walk before insert on tandem.move for each row execute function walk.slot();
      create or replace trigger walk before update on tandem.epoch for each row execute function walk.epoch();
      create or replace trigger walk before insert or update of seq on tandem.applied for each row execute function walk.applied();
      create or replace trigger walk before insert or update on tandem.serving for each row execute function walk.given()`);
    return new Gate(url, client);
  }

  /** From now on the first line of this name waits. */
  async arm(point: string): Promise<void> {
    await this.client.query('delete from walk.armed; delete from walk.passed');
    await this.client.query('insert into walk.armed values ($1)', [point]);
    await this.client.query('select pg_advisory_lock($1)', [GATE]);
  }

  async untilHeld(): Promise<void> {
    await this.until('no line came to the gate', () =>
      this.count(`select from pg_locks where locktype = 'advisory' and objid = ${GATE} and not granted`),
    );
  }

  /**
   * Lets it go. A writer that is dead by now leaves no line, for nobody commits it; what it asked for in a single statement
   * lands after its death.
   */
  async letGo(): Promise<void> {
    await this.client.query('delete from walk.armed'); // No truncate: the writer has read it.
    await this.client.query('select pg_advisory_unlock_all()');
  }

  /** Lets it go and returns when it is there for all to see. */
  async letCommit(): Promise<void> {
    await this.letGo();
    await this.until('the line was not committed', () => this.count('select from walk.passed'));
  }

  /** After its database was killed: what was held is gone, and nothing is. */
  async reopen(): Promise<void> {
    await this.client.end().catch(() => undefined);
    this.client = await connected(this.url);
    await this.letGo();
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

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined); // Its server is killed, too.
  await client.connect();
  return client;
}
