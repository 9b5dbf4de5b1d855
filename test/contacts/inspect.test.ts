import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { inspectDatabase, inspectPeerDatabase } from '../../activities/contacts/inspect.ts';
import { CUSTOMER, openWorld, type World } from '../vault/world.ts';

let world: World;
beforeAll(async () => {
  world = await openWorld(20);
});
afterAll(() => world.drop());

const east = { customer: CUSTOMER, site: 'east' };
const named = (url: string): string =>
  Object.assign(new URL(url), { pathname: new URL(world.urls.east).pathname }).toString();
const peerUrl = (): string => named(inject('stack').sites['east']?.peerUrl ?? '');

describe('an inspection of a database', () => {
  it('finds nothing to say of one that is as it must be', async () => {
    expect(await inspectDatabase(world.urls.east, east)).toEqual([]);
    expect(await inspectPeerDatabase(peerUrl(), east)).toEqual([]);
  });

  it('says whose it is, when it is another’s', async () => {
    expect(await inspectDatabase(world.urls.east, { customer: 'other', site: 'east' })).toMatchObject([
      { severity: 'error', observed: expect.stringContaining(`it is that of ${CUSTOMER} at east`) as string },
    ]);
  });

  it('says that no worker was ever started on it, and where to start one', async () => {
    await world.sql('east', 'alter schema tandem rename to away');
    const found = await Promise.all([inspectDatabase(world.urls.east, east), inspectPeerDatabase(peerUrl(), east)]);
    await world.sql('east', 'alter schema away rename to tandem');
    const observed = 'it has no schema tandem yet: no worker has prepared it';
    expect(found).toMatchObject([
      [{ severity: 'error', observed, try: 'Start its worker once: `tandem worker --site east`.' }],
      [{ severity: 'error', observed, try: 'Start the worker of east once, at east.' }],
    ]);
  });

  it('names each right that is lacking', async () => {
    await world.sql('east', `revoke insert, delete on rostergroups from tandem`);
    const found = await inspectDatabase(world.urls.east, east);
    await world.sql('east', `grant all on rostergroups to tandem`);
    expect(found).toMatchObject([
      { severity: 'error', observed: 'role tandem lacks delete on rostergroups, insert on rostergroups' },
    ]);
  });

  it('names what is lacking to delete archived messages and to bring them along, where that is done', async () => {
    await world.sql('east', 'create table public.archive (username text, id serial)');
    const look = () => inspectDatabase(world.urls.east, { ...east, archives: true });
    expect(await look()).toEqual([]);
    await world.sql('east', 'revoke insert, delete on public.archive from tandem');
    expect(await inspectDatabase(world.urls.east, east)).toEqual([]);
    expect(await look()).toMatchObject([
      { severity: 'error', observed: 'role tandem lacks insert, delete on archive' },
    ]);
    await world.sql('east', 'grant insert, delete on public.archive to tandem');
    await world.sql('east', 'revoke usage, update on sequence public.archive_id_seq from tandem');
    expect(await look()).toMatchObject([{ observed: 'role tandem lacks usage of its sequence on archive' }]);
    await world.sql('east', 'grant select on public.archive to tandem_peer');
    const peer = await inspectPeerDatabase(peerUrl(), east);
    await world.sql('east', 'drop table public.archive');
    expect(peer).toMatchObject([{ severity: 'error', observed: 'it may read or change public.archive' }]);
    expect(await look()).toEqual([]);
  });

  it('names a table that is missing', async () => {
    await world.sql('east', 'alter table privacy_default_list rename to gone');
    const found = await inspectDatabase(world.urls.east, east);
    await world.sql('east', 'alter table gone rename to privacy_default_list');
    expect(found).toMatchObject([
      { severity: 'error', observed: expect.stringContaining('no privacy_default_list') as string },
    ]);
  });

  it('counts users whom no snapshot holds, and names data that none covers', async () => {
    await world.sql(
      'east',
      `insert into rosterusers select 'stranger', jid, nick, subscription, ask, askmessage, server, subscribe, type from rosterusers limit 1`,
    );
    await world.sql('east', 'create table vcard as select 1 as one');
    const found = await inspectDatabase(world.urls.east, east);
    await world.sql('east', `delete from rosterusers where username = 'stranger'`);
    await world.sql('east', 'drop table vcard');
    expect(found.map(({ severity, observed }) => `${severity}: ${observed}`)).toEqual([
      'warning: 1 users have contacts or lists and no home: no snapshot holds them',
      'warning: table vcard holds vCards, which no snapshot covers',
    ]);
  });

  it('finds a peer that may read contacts, and one that may not fence', async () => {
    await world.sql('east', 'grant select on rosterusers to tandem_peer');
    await world.sql('east', 'revoke execute on function tandem.fence(text, bigint, text, text) from tandem_peer');
    const found = await inspectPeerDatabase(peerUrl(), east);
    await world.sql('east', 'revoke select on rosterusers from tandem_peer');
    await world.sql('east', 'grant execute on function tandem.fence(text, bigint, text, text) to tandem_peer');
    expect(found.map(({ observed }) => observed)).toEqual([
      'it may not observe and fence that site',
      'it may read or change rosterusers',
    ]);
  });

  it('says that a server does not answer: an error of the own one, a warning of the peer’s', async () => {
    const nowhere = 'postgres://tandem:x@127.0.0.1:1/none';
    expect(await inspectDatabase(nowhere, east)).toMatchObject([{ severity: 'error' }]);
    expect(await inspectPeerDatabase(nowhere, east)).toMatchObject([{ severity: 'warning' }]);
  });
});
