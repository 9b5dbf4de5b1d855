import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reconcileArchive } from '../../activities/archive/act.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { openSite } from '../../activities/services/site.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import { prepareTables } from '../../ops/embedded/people/people.ts';
import type { Ejabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { makeServiceTables } from '../../ops/reference-service/ejabberd/site.ts';
import { scratchDatabase, type ScratchDatabase } from '../rig/databases.ts';
import { sql } from '../rig/sql.ts';
import { DOMAIN, type FilteredSite } from './filtered-site.ts';

/** A user who is home again asks a real ejabberd there for what he was sent while he was served at the other site. */

const SAID = 'what was said while they were away';
let home: FilteredSite;
let away: ScratchDatabase;
const move = randomUUID();

async function bring(): Promise<unknown> {
  const customer = { id: 'acme', peer: 'east', databaseUrl: away.url, peerDatabaseUrl: home.peerUrl };
  const vault = {
    site: 'west',
    endpoint: 'http://127.0.0.1:1',
    region: 'x',
    bucket: 'x',
    accessKeyId: 'x',
    secretAccessKey: 'x',
  };
  const site = openSite({
    site: 'west',
    vault,
    witness: null,
    services: new Map(),
    customers: new Map([['acme', customer as CustomerSettings]]),
  } as unknown as SiteSettings);
  const planned = { half: 'east', keeps: [], servedAt: ['east'], reconcile: null };
  const decisions = { from: 'west', to: 'east', epoch: 2, planned, steps: [] };
  const step: PlannedStep = {
    key: { customer: 'acme', epoch: { number: 2, site: 'west', move }, step: 'archive', round: 0 },
    act: 'reconcile-archive',
    plan: { decisions } as unknown as Plan,
  };
  try {
    return (await reconcileArchive(site, step, { heartbeat: () => undefined, signal: new AbortController().signal }))
      .facts;
  } finally {
    await site.close();
  }
}

/** What his client is answered by the archive of his server (XEP-0313), once it says that this is all. */
async function asks(user: 'anna' | 'aron'): Promise<string[]> {
  const session = await home.signIn(user);
  session.send(`<iq type='set' id='mam'><query xmlns='urn:xmpp:mam:2' queryid='q'/></iq>`);
  await expect.poll(() => session.stanzas.some((stanza) => stanza.includes('<fin '))).toBe(true);
  session.leave();
  return session.stanzas.filter((stanza) => stanza.includes('queryid="q"') && stanza.includes('<forwarded'));
}

/** It leaves the site under another epoch. */
export function archive(ejabberd: Ejabberd | null, opened: () => FilteredSite): void {
  describe('messages that were archived where users were served before', () => {
    beforeAll(async () => {
      if (!ejabberd) return;
      home = opened();
      await home.at('delete from archive; delete from spool');
      away = await scratchDatabase('west');
      await prepareTables(away.url, 'acme', 'west', ['east', 'west']);
      await makeServiceTables(ejabberd, away.url);
      await sql(away.url, `insert into tandem.home values ('anna', 'east'), ('aron', 'east')`);
      await sql(
        away.url,
        `insert into tandem.move (move, customer, kind, workflow_id, phase, input, started_at) values ('${move}', 'acme', 'failback', 'x', 'moving', '{}', now())`,
      );
      const epoch = `update tandem.epoch set number = 2, site = 'west', move = '${move}'; update tandem.serving set site = 'east', epoch = 2 where half = 'east'`;
      for (const url of [away.url, home.url]) await sql(url, epoch);
    }, 60_000);
    afterAll(() => away?.drop());

    it('are found at home by their clients, each once, as they were', async () => {
      const [anna, aron] = [await home.signIn('anna'), await home.signIn('aron')];
      anna.send(`<message to='aron@${DOMAIN}' type='chat' id='one'><body>${SAID}</body></message>`);
      const rows = (): Promise<unknown[]> =>
        home.at(`select to_jsonb(a) - 'id' as row from archive a order by username`);
      await expect.poll(rows).toHaveLength(2);
      for (const session of [anna, aron]) session.leave();
      const before = [await asks('anna'), await asks('aron')];
      // As ejabberd wrote them, at the site where they were.
      const written = await rows();
      await sql(
        away.url,
        (written as { row: object }[])
          .map(({ row }) => JSON.stringify(row).replaceAll("'", "''"))
          .map(
            (row) => `insert into archive (username, timestamp, peer, bare_peer, xml, txt, kind, nick, created_at)
          select username, timestamp, peer, bare_peer, xml, txt, kind, nick, created_at from jsonb_populate_record(null::archive, '${row}')`,
          )
          .join(';'),
      );
      await home.at('delete from archive');
      expect([await asks('anna'), await asks('aron')]).toEqual([[], []]);
      expect(await bring()).toEqual({ rows: 2, brought: 2, strangers: 0 });
      expect(await rows()).toEqual(written);
      const found = [await asks('anna'), await asks('aron')];
      expect(found.map((stanzas) => stanzas.filter((stanza) => stanza.includes(SAID)).length)).toEqual([1, 1]);
      expect(found.map(unaddressed)).toEqual(before.map(unaddressed));
    });
  });
}

/** Without the client that asked. */
const unaddressed = (stanzas: string[]): string[] =>
  stanzas.map((stanza) => stanza.replaceAll(/ (?:to|id)="[^"]*\/[^"]*"/g, ''));
