import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { restoreSnapshot } from '../../activities/contacts/restore.ts';
import { hasEjabberd, seenByEjabberd } from '../rig/ejabberd.ts';
import { openWorld, quiet, type World } from '../vault/world.ts';

/** What a real ejabberd reads of restored users, through its own modules. Only where it is on the machine. */

let world: World;
beforeEach(async () => {
  world = await openWorld(300);
});
afterEach(() => world.drop());

// A real ejabberd is not on every machine, and nothing else can say what it would read.
describe.skipIf(!hasEjabberd)('ejabberd', () => {
  it('finds every contact and every ACL item of restored users as it found them at their own site', async () => {
    const names = (await world.sql('east', `select username from tandem.home where site = 'east' order by 1`)).map(
      (row) => String(row['username']),
    );
    const before = await seenByEjabberd(world.urls.east, names);
    expect(before.contacts).toBeGreaterThan(names.length);
    expect(before.items).toBeGreaterThan(10);
    const snapshot = await world.open('east', await world.take('east'));
    await world.sql('west', `update tandem.epoch set number = 2, site = 'west', move = 'move-1'`);
    await restoreSnapshot({
      database: world.databases.west,
      snapshot,
      halves: ['east'],
      guard: { customer: 'acme', epoch: { number: 2, site: 'west', move: 'move-1' } },
      ledger: { snapshot: snapshot.summary, epoch: snapshot.manifest.epoch, keys: world.keys },
      ...quiet,
    });
    const after = await seenByEjabberd(world.urls.west, names);
    expect(after).toEqual(before);
    // It would see one item less.
    await world.sql(
      'west',
      `delete from privacy_list_data where ctid = (select min(d.ctid) from privacy_list_data d
      join privacy_list l using (id) join tandem.home h using (username) where h.site = 'east')`,
    );
    const less = await seenByEjabberd(world.urls.west, names);
    expect([...less.users].filter(([name, hash]) => before.users.get(name) !== hash)).toHaveLength(1);
  });
});
