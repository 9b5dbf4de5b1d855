import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appendJournal, readJournal } from '../../activities/journal/chain.ts';
import { journalKey } from '../../activities/journal/objects.ts';
import { seal } from '../../activities/vault/signed.ts';
import type { JournalEntry } from '../../workflows/model/moves.ts';
import type { SnapshotSummary } from '../../workflows/model/snapshots.ts';
import { fatesOf, openCleaning, type Cleaning } from './cleaning.ts';
import { CUSTOMER, type Site } from './world.ts';

/** West has restored the third of six snapshots of east's users, and serves them under epoch 2. Half a year goes by. */

const MOVE = 'move-1';
let world: Cleaning;
beforeAll(async () => {
  world = await openCleaning();
  const [, , third] = await world.oldAndNew();
  if (!third) throw new Error('nothing was taken');
  await restored(third);
  await away();
});
afterAll(() => world.drop());

/** The journal of the move, as west's database has it and as the vaults of both sites do. */
async function restored({ customer, site, gen, seq }: SnapshotSummary): Promise<void> {
  const { west } = world.databases;
  await world.sql('west', `insert into tandem.move values ($1, $2, 'failover', 'w', 'closed', '{}', now(), now())`, [
    MOVE,
    CUSTOMER,
  ]);
  await world.sql('west', 'update tandem.move set ended_at = null');
  const source = { snapshot: { customer, site, gen, seq } };
  const line = (key: string, kind: JournalEntry['kind'], body: JournalEntry['body']): JournalEntry => ({
    customer: CUSTOMER,
    move: MOVE,
    key,
    kind,
    at: new Date().toISOString(),
    body,
  });
  const lines = await west.transaction(async (client) => {
    await appendJournal(
      client,
      line('plan/1', 'planned', { decisions: { from: 'east', to: 'west', epoch: 2 }, source }),
    );
    await appendJournal(client, line('effect/acme/2/contacts/0', 'step', { act: 'restore-contacts' }));
    return readJournal(client, MOVE);
  });
  await world.sql('west', 'update tandem.move set ended_at = now()');
  const head = lines.at(-1)?.hash ?? '';
  const segment = { format: 1, customer: CUSTOMER, move: MOVE, site: 'west', previous: null, lines, head };
  const key = journalKey(CUSTOMER, 'west', { move: MOVE, what: 'lines', first: 1 });
  await world.vaults.east.put(key, seal('journal', 'west', world.signingKeys.west, segment));
}

const epoch = (site: Site, number: number) =>
  world.sql(site, `update tandem.epoch set number = ${number}, site = 'west'`);
const serve = (at: Site, site: Site, number: number) =>
  world.sql(at, `update tandem.serving set site = $1, epoch = $2 where half = 'east'`, [site, number]);
/** East was lost with rows that say that its users are its own. */
async function away(): Promise<void> {
  for (const site of ['east', 'west'] as const) await epoch(site, 2);
  await serve('west', 'west', 2);
}
const looked = async (at: Site) => world.clean(at, { mode: 'dry-run', peer: null });
const pinned = async (at: Site) => fatesOf(await looked(at), 'east').find(([gen]) => gen === 3)?.[1];

describe('what a failover has restored stays', () => {
  it('in the survivor’s vault, at any age, while those users are not home again; nothing else does', async () => {
    const done = await looked('west');
    expect(fatesOf(done, 'east')).toEqual([
      [5, 'kept'],
      [3, 'pinned'],
      [1, 'expired'],
    ]);
    const told = done.sources.find(({ site }) => site === 'east')?.generations.find(({ gen }) => gen === 3);
    expect(told?.because).toBe(`number 3 is what move ${MOVE} restored, and east is not home again`);
  });

  it('in the vault of the site that was lost as well, whether it has salvaged or follows', async () => {
    expect(await pinned('east')).toBe('pinned');
    await world.sql('east', "update tandem.salvage set manifest = 'm'");
    await serve('east', 'west', 2);
    expect(await pinned('east')).toBe('pinned');
  });

  it('all there is, where the journal of the survivor cannot be read', async () => {
    const key = journalKey(CUSTOMER, 'west', { move: 'move-2', what: 'lines', first: 1 });
    await world.vaults.east.put(key, Buffer.from('junk'));
    expect(fatesOf(await looked('east'), 'east')).toEqual([
      [5, 'kept'],
      [3, 'pinned'],
      [1, 'pinned'],
    ]);
  });

  it('until they are: by the lost site’s own rows, under a newer epoch', async () => {
    await epoch('east', 3);
    expect(await pinned('east')).toBe('pinned');
    await serve('east', 'east', 3);
    expect(await pinned('east')).toBe('expired');
  });

  it('and in the survivor’s vault until what it alone has of them is released: they may have been home all the time', async () => {
    await epoch('west', 3);
    expect(await pinned('west')).toBe('pinned');
    await serve('west', 'east', 3);
    expect(await pinned('west')).toBe('pinned');
    await world.sql('west', "update tandem.salvage set manifest = 'm' where half = 'east' and epoch = 2");
    expect(await pinned('west')).toBe('pinned');
    await world.sql('west', 'update tandem.salvage set released_at = now()');
    expect(await pinned('west')).toBe('expired');
  });
});
