import { chmod, mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { defaultFilter, filterDigest, type FilterPolicy } from '../../activities/filter/policy.ts';
import { loadedAt } from '../../activities/filter/loaded.ts';
import { filterParity } from '../../activities/filter/parity.ts';
import { archivingAt } from '../../activities/services/archiving.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import type { Session } from '../rig/xmpp.ts';
import { DOMAIN, type FilteredSite } from './filtered-site.ts';

/** A real ejabberd filters messages and files by the row of its own database, and delivers nothing without it. */

const LINK = 'see http://example.com/a';
const never = new AbortController().signal;
let site: FilteredSite;

const policy = (change: Partial<FilterPolicy>): FilterPolicy => ({ ...defaultFilter, ...change });
const body = (text: string, id: string, to: string = 'aron'): string =>
  `<message to='${to}@${DOMAIN}' type='chat' id='${id}'><body>${text}</body></message>`;
const came = async (session: Session, ...parts: (string | RegExp)[]): Promise<void> => {
  const found = (): boolean =>
    session.stanzas.some((s) => parts.every((p) => (typeof p === 'string' ? s.includes(p) : p.test(s))));
  await expect.poll(found, { message: parts.join(' ') }).toBe(true);
};

export function messageFilter(opened: () => FilteredSite): void {
  describe('the message filter of a site', () => {
    beforeAll(() => {
      site = opened();
    });
    beforeEach(() => site.at('delete from archive; delete from spool'));
    afterEach(() => {
      for (const session of site.sessions.splice(0)) session.leave();
    });

    it('is the default from the start, although nobody has configured one', async () => {
      expect(await site.loaded()).toBe(filterDigest(defaultFilter));
      const [anna, aron] = [await site.signIn('anna'), await site.signIn('aron')];
      anna.send(body('http://example.com/setup.exe', 'bad'));
      await came(anna, "id='bad'".replaceAll("'", '"'), 'policy-violation');
      anna.send(body(LINK, 'good'));
      await came(aron, LINK);
      expect(aron.stanzas.join()).not.toContain('setup.exe');
    });

    it('never delivers, copies or keeps what it refuses: its sender has an error, without what was refused', async () => {
      await site.filterBy({ urls: 'block-messages-with-links' });
      const [anna, other, aron] = [
        await site.signIn('anna'),
        await site.signIn('anna', 'other'),
        await site.signIn('aron'),
      ];
      for (const client of [anna, other, aron])
        client.send(`<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>`);
      for (const client of [anna, other, aron]) await came(client, /^<iq[^>]*id="c"/, 'type="result"');
      anna.send(body(LINK, 'no-1'));
      anna.send(body(LINK, 'no-2', 'otto'));
      anna.send(
        `<message to='aron@${DOMAIN}' id='no-3'><body>look</body><x xmlns='jabber:x:oob'><url>http://wiki/</url></x></message>`,
      );
      anna.send(body('just words', 'yes'));
      anna.send(body('for later', 'later', 'otto'));
      for (const id of ['no-1', 'no-2', 'no-3'])
        await came(anna, `id="${id}"`, 'type="error"', 'policy-violation', /<text/);
      await came(aron, 'just words');
      await came(other, 'just words', 'urn:xmpp:carbons:2');
      await expect.poll(() => site.kept()).toContain('for later');
      for (const text of [aron, other, anna].map((s) => s.stanzas.join()).concat(await site.kept()))
        expect(text).not.toMatch(/example\.com|jabber:x:oob|<body>look/);
      expect(await site.kept()).toContain('just words');
    });

    it('never delivers what comes from another service and is refused', async () => {
      const [aron] = [await site.signIn('aron')];
      // The way on which ejabberd hands on what came from other servers.
      const from = (text: string): Promise<string> =>
        site.erl(
          'mod_admin_extra',
          'send_stanza',
          'eve@partner.example/x',
          `aron@${DOMAIN}`,
          `<message><body>${text}</body></message>`,
        );
      await from(LINK);
      await from('good day');
      await came(aron, 'good day', 'eve@partner.example');
      expect(aron.stanzas.join()).not.toContain('example.com');
      expect(await site.kept()).not.toContain('example.com');
    });

    it('delivers, copies and keeps links as plain text', async () => {
      await site.filterBy({ urls: 'links-as-plain-text' });
      const [anna, aron] = [await site.signIn('anna'), await site.signIn('aron')];
      anna.send(body(LINK, 'plain'));
      await came(aron, 'see http[:]//example[.]com/a', 'id="plain"');
      await expect.poll(() => site.kept()).toContain('http[:]//example[.]com/a');
      expect((await site.kept()) + aron.stanzas.join()).not.toContain('http://example');
      anna.send(body('http://example.com/setup.exe', 'bad'));
      await came(anna, 'id="bad"', 'policy-violation');
    });

    it('gives no slot for a listed file, and hands on no offer of one', async () => {
      await site.filterBy({ urls: 'allow-all' });
      const [anna, aron] = [await site.signIn('anna'), await site.signIn('aron')];
      const slot = (name: string, id: string): void =>
        anna.send(
          `<iq type='get' id='${id}' to='upload.${DOMAIN}'><request xmlns='urn:xmpp:http:upload:0' filename='${name}' size='5'/></iq>`,
        );
      const offer = (name: string, id: string): void =>
        anna.send(
          `<iq type='set' id='${id}' to='aron@${DOMAIN}/test-aron'><si xmlns='http://jabber.org/protocol/si' profile='http://jabber.org/protocol/si/profile/file-transfer'><file xmlns='http://jabber.org/protocol/si/profile/file-transfer' name='${name}' size='5'/></si></iq>`,
        );
      slot('Setup.exe', 's1');
      slot('setup.exe .', 's2');
      offer('setup.exe', 'o1');
      slot('report.pdf', 's3');
      offer('report.pdf', 'o2');
      for (const id of ['s1', 's2', 'o1']) await came(anna, `id="${id}"`, 'type="error"', 'policy-violation');
      await came(anna, 'id="s3"', 'type="result"', site.uploads);
      await came(aron, 'report.pdf');
      expect(aron.stanzas.join()).not.toContain('setup.exe');
      await site.filterBy({ urls: 'allow-all', files: 'block-all' });
      slot('report.pdf', 's4');
      await came(anna, 'id="s4"', 'policy-violation');
    });

    it('is obeyed within seconds when it has changed', async () => {
      await site.filterBy({ urls: 'allow-all' });
      const anna = await site.signIn('anna');
      await site.signIn('aron');
      await site.write({ urls: 'block-messages-with-links' });
      const begun = performance.now();
      for (let n = 0; !anna.stanzas.some((s) => s.includes('policy-violation')); n += 1) {
        expect(performance.now() - begun).toBeLessThan(3000);
        anna.send(body(LINK, `n${n}`));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    });

    it.each([
      ['is missing', 'delete from tandem.filter_policy'],
      ['is malformed', `update tandem.filter_policy set document = replace(document, 'exe', 'exf')`],
      ['cannot be read', 'alter table tandem.filter_policy rename to hidden'],
      ['cannot be read in time', 'lock'],
    ])('lets nothing through when its row %s', async (_, change) => {
      await site.filterBy({ urls: 'allow-all' });
      const [anna, aron] = [await site.signIn('anna'), await site.signIn('aron')];
      const held = change === 'lock' ? await lockRow() : null;
      if (!held) await site.at(change);
      try {
        await expect.poll(site.loaded, { timeout: 12_000 }).toBe('none');
        anna.send(body('hello', 'h1'));
        anna.send(body('hello', 'h2', 'otto'));
        for (const id of ['h1', 'h2']) await came(anna, `id="${id}"`, 'type="error"', 'resource-constraint');
        expect(aron.stanzas.join()).not.toContain('hello');
        expect(await site.kept()).toBe('');
        await site.signIn('otto'); // Whatever holds up the filter's reading holds up nobody else's.
      } finally {
        await held?.();
        if (change.includes('hidden')) await site.at('alter table tandem.hidden rename to filter_policy');
      }
    });

    it('is what check-parity finds in force over the API, or finds not to be', async () => {
      await site.filterBy({ urls: 'allow-intranet' });
      const compare = (filter: FilterPolicy, api: Partial<typeof site.api> = {}) => {
        const customer = {
          id: 'acme',
          domain: DOMAIN,
          peer: 'west',
          filter,
          peerDatabaseUrl: 'postgres://x@127.0.0.1:1/x',
        };
        const customers = new Map([['acme', customer]]);
        const services = new Map([['east', { management: { ...site.api, ...api } }]]);
        const loaded = loadedAt({ site: 'east', services, customers } as unknown as SiteSettings);
        return filterParity({ customer: customer as CustomerSettings, database: site.database, loaded, signal: never });
      };
      expect(await compare(policy({ urls: 'allow-intranet' }))).toMatchObject({
        database: { state: 'same' },
        service: { state: 'same' },
        peer: { state: 'unknown' },
      });
      expect(await compare(defaultFilter)).toMatchObject({
        database: { state: 'differs', because: ['urls allow-intranet instead of allow-active-links'] },
        service: { state: 'differs' },
      });
      // What was just written is waited for.
      await site.write({});
      expect(await compare(defaultFilter)).toMatchObject({ service: { state: 'same' } });
      expect(await compare(defaultFilter, { token: 'peer-east' })).toMatchObject({ service: { state: 'same' } });
      expect(await compare(defaultFilter, { token: 'x' })).toMatchObject({
        service: { state: 'unknown', asked: true },
      });
      // As an ejabberd without the module answers.
      const other = { url: site.api.url.replace('/api', '/api/none') };
      expect(await compare(defaultFilter, other)).toMatchObject({ service: { state: 'differs', digest: 'none' } });
    });

    it('leaves no message out of the archive, whatever its sender and its kind', async () => {
      const [anna, aron] = [await site.signIn('anna'), await site.signIn('aron')];
      anna.send(
        `<iq type='set' id='p'><prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never><jid>aron@${DOMAIN}</jid></never></prefs></iq>`,
      );
      await came(anna, 'id="p"', 'type="error"');
      const said = (id: string, type: string, hint: string): void =>
        anna.send(
          `<message to='aron@${DOMAIN}' type='${type}' id='${id}'><body>word ${id}</body><${hint} xmlns='urn:xmpp:hints'/></message>`,
        );
      said('a1', 'chat', 'no-store');
      said('a2', 'normal', 'no-permanent-store');
      said('a3', 'headline', 'no-copy');
      for (const id of ['a1', 'a2', 'a3']) {
        await came(aron, `word ${id}`);
        // Of the sender, and of who received it.
        const count = `select count(*)::int as n from archive where xml like '%word ${id}%'`;
        await expect.poll(() => site.at(count)).toEqual([{ n: 2 }]);
      }
      const settings = {
        site: 'east',
        services: new Map([['east', { management: site.api }]]),
        customers: new Map([['acme', { domain: DOMAIN }]]),
      } as unknown as SiteSettings;
      const archiving = () => archivingAt(settings)('acme', never);
      expect(await archiving()).toEqual({ on: true });
      await site.at(`insert into archive_prefs (username, def, always, never) values ('otto', 'never', '[]', '[]')`);
      expect(await archiving()).toMatchObject({
        on: false,
        because: '1 users have preferences of their own in archive_prefs',
      });
      await site.at('delete from archive_prefs');
    });

    it('deletes uploaded files after 30 days', async () => {
      const uploads = join(site.home, 'upload');
      const file = async (user: string, days: number): Promise<void> => {
        await mkdir(join(uploads, user, 'random'), { recursive: true });
        const path = join(uploads, user, 'random', 'report.pdf');
        await writeFile(path, 'text');
        const then = new Date(Date.now() - days * 86_400_000);
        await utimes(path, then, then);
        await chmod(join(uploads, user), 0o777);
        await chmod(join(uploads, user, 'random'), 0o777);
      };
      await file('old', 31);
      await file('new', 29);
      await chmod(uploads, 0o777);
      const quota = await site.erl('mod_http_upload', 'get_proc_name', DOMAIN, "'mod_http_upload_quota'");
      await site.erl('erlang', 'send', quota, "'sweep'");
      await expect.poll(() => readdir(uploads)).toEqual(['new']);
    });

    it('lets nothing through in the first moments of a site that starts and is given the right to serve', async () => {
      await site.at(`delete from tandem.serving where half = 'east'`);
      await site.at('delete from tandem.filter_policy'); // It serves before it has a policy.
      await site.kill();
      await site.start();
      await site.at(`insert into tandem.serving (customer, half, site, epoch) values ('acme', 'east', 'east', 1)`);
      const signedIn = async (): Promise<boolean> =>
        (await Promise.allSettled([site.signIn('anna')]))[0].status === 'fulfilled';
      await expect.poll(signedIn, { interval: 50 }).toBe(true);
      const [anna] = site.sessions;
      const say = async (from: number): Promise<void> => {
        for (let n = from; n < from + 20; n += 1) {
          anna?.send(body(LINK, `f${n}`));
          anna?.send(body(LINK, `g${n}`, 'otto'));
          await new Promise((resolve) => setTimeout(resolve, 25));
        }
      };
      await say(0);
      await came(anna as Session, 'resource-constraint', 'id="g19"');
      await site.write({ urls: 'block-messages-with-links' });
      await say(20);
      await expect.poll(site.loaded).not.toBe('none');
      const aron = await site.signIn('aron');
      anna?.send(body('the end', 'end'));
      await came(aron, 'the end');
      expect(aron.stanzas.join() + (await site.kept())).not.toContain('example.com');
      const errors = anna?.stanzas.filter((s) => s.includes('type="error"')).join() ?? '';
      expect(errors.match(/ id="[fg]\d+"/g)).toHaveLength(80);
    });
  });
}

/** Keeps everybody from reading the row; the answer lets them again. */
async function lockRow(): Promise<() => Promise<unknown>> {
  const [locked, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const held = site.database.transaction(async (client) => {
    await client.query('lock table tandem.filter_policy in access exclusive mode');
    locked.resolve();
    await over.promise;
  });
  await Promise.race([locked.promise, held]);
  return () => {
    over.resolve();
    return held;
  };
}
