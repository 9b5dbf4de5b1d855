import { readFile } from 'node:fs/promises';
import { appendJournal } from '../../activities/journal/chain.ts';
import { makePlan } from '../../activities/services/plan.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import { restoreContacts } from '../../activities/services/restore.ts';
import { servedFrom } from '../../activities/services/restored-here.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { pullSnapshots } from '../../activities/vault/pull.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { salvageHalves } from '../../activities/vault/salvage.ts';
import { takeSnapshot } from '../../activities/vault/snapshot.ts';
import { verifySnapshot } from '../../activities/vault/verify.ts';
import type { Act } from '../../workflows/model/acts.ts';
import type { Plan } from '../../workflows/model/plan.ts';
import type { Reconciliation } from '../../workflows/model/planned-move.ts';
import { CUSTOMER, eastAt, endMove, input, makeWorld, startMove, type World } from './world.ts';

/** East was lost and is back; west has restored its users from its last snapshot, and serves them. */
export interface Returned {
  world: World;
  east: S3Vault;
  /** West, which reaches east. */
  west: OwnSite;
  /** The move home. */
  move: string;
  /** East writes what it alone has into its vault. */
  salvage: () => Promise<void>;
  step: (act: Act, reconcile: Reconciliation | null, round?: number) => PlannedStep;
  close: () => Promise<void>;
}

export const DOMAIN = 'contoso.example';
export const work = { heartbeat: () => undefined, signal: new AbortController().signal };

export const contact = (who: string, jid: string, state = 'B', nick = ''): string =>
  `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
   values ('${who}', '${jid}', '${nick}', '${state}', 'N', '', 'N', '', 'item');`;
export const denial = (who: string, jid: string, order: number): string =>
  `insert into privacy_list (username, name) values ('${who}', 'block') on conflict do nothing;
   insert into privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)
     select id, 'j', '${jid}', 'd', ${order}, true, false, false, false, false from privacy_list where username = '${who}';`;

const MOVED = `update tandem.epoch set number = 2, site = 'west', move = 'MOVE'`;

/** `before`: rows at east that its last snapshot has; `current`: of west's own users; `unsent`: what east's did after that snapshot. */
export async function openReturned({
  before,
  current,
  unsent,
}: Record<'before' | 'current' | 'unsent', string>): Promise<Returned> {
  const world = await makeWorld();
  const east = new S3Vault(world.vaults.east);
  const { publicKeys } = world.settings;
  const { keys } = world.customer;
  const schema = await readFile(new URL('../../ops/embedded/people/ejabberd.sql', import.meta.url), 'utf8');
  for (const db of [world.eastDb, world.westDb]) await db.query(`set local search_path to public; ${schema}`);
  await Promise.all([world.eastDb.query(before), world.westDb.query(current)]);
  const common = { customer: CUSTOMER, keys, publicKeys, maxAgeMs: 60_000, ...work };
  const at = { ...common, vault: east, database: world.eastDb, site: 'east', signingKey: world.keys.east };
  const taken = await takeSnapshot({ ...at, read: 'all' });
  const mine = { ...common, database: world.westDb, site: 'west' };
  await pullSnapshots({ ...mine, own: world.west.vault, peer: east });
  await verifySnapshot({ ...mine, vault: world.west.vault, id: taken, signingKey: world.keys.west });
  await world.eastDb.query(unsent);

  const lost = await startMove(world);
  const { customer, site } = eastAt(world, '127.0.0.1:1') ?? {};
  const alone = world.westWith({ ...(customer && { customer }), ...(site && { site }) });
  const plan = await makePlan(alone, { input: input(), declaredAt: new Date().toISOString() });
  const key = { customer: CUSTOMER, epoch: { number: 2, site: 'west', move: lost }, round: 0 };
  await world.westDb.query(MOVED.replace('MOVE', lost));
  await world.westDb.query("update tandem.serving set epoch = 2 where site = 'west'");
  await world.westDb.transaction((client) =>
    appendJournal(client, {
      customer: CUSTOMER,
      move: lost,
      key: 'planned/1',
      kind: 'planned',
      at: new Date().toISOString(),
      body: { ...plan },
    }),
  );
  const acted = (act: Act): PlannedStep => ({ key: { ...key, step: act }, act, plan });
  await restoreContacts(alone, acted('restore-contacts'), work);
  await serveUsers(alone, acted('serve-users'));
  await endMove(world, lost);
  await world.eastDb.query(MOVED.replace('MOVE', lost));
  await world.eastDb.query("update tandem.serving set site = 'west', epoch = 2 where half = 'east'");

  const move = await startMove(world);
  await world.westDb.query(`update tandem.epoch set number = 3, move = '${move}'`);
  await world.westDb.query("update tandem.serving set epoch = 3 where site = 'west'");
  return {
    world,
    east,
    west: world.west,
    move,
    async salvage() {
      const restored = (half: string, epoch: number) => servedFrom(world.eastDb, CUSTOMER, half, epoch);
      await salvageHalves({ ...at, restored });
    },
    step: (act, reconcile, round = 0) => ({
      key: { customer: CUSTOMER, epoch: { number: 3, site: 'west', move }, step: act, round },
      act,
      plan: {
        decisions: { from: 'west', to: 'east', epoch: 3, steps: [], planned: { half: 'east', keeps: [], reconcile } },
      } as unknown as Plan,
    }),
    async close() {
      east.close();
      await world.close();
    },
  };
}
