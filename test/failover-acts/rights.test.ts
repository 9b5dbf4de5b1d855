import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Client } from 'pg';
import { advanceEpoch } from '../../activities/services/epoch.ts';
import { obeyNewerEpoch } from '../../activities/services/obey.ts';
import { serveUsers } from '../../activities/services/serve.ts';
import { claimEpoch } from '../../activities/vault/epochs.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { Epoch } from '../../workflows/model/epoch.ts';
import {
  answerClaim,
  goesAlong,
  keepsUnder,
  mayTake,
  obey,
  servesBy,
  type Right,
} from '../../workflows/model/rights.ts';
import { CUSTOMER, kindOf, makeWorld, startMove, step, type World } from './world.ts';

/** Rules that stand in SQL or in an order of S3 requests too: what real stores do is what `workflows/model/rights.ts` says, for all small inputs. */

const sites = ['east', 'west'] as const;
const numbers = [1, 2, 3];
const epochs: Epoch[] = numbers.flatMap((number) =>
  sites.flatMap((site) => ['a', 'b'].map((move) => ({ number, site, move }))),
);
const rights: Right[] = numbers.flatMap((epoch) => sites.map((site) => ({ site, epoch })));

let world: World;
let move: string;
beforeAll(async () => {
  world = await makeWorld();
  move = await startMove(world);
});
afterAll(() => world.close());
beforeEach(() => setRight({ site: 'east', epoch: 1 }, 'east'));

const setEpoch = ({ number, site, move: by }: Epoch): Promise<unknown> =>
  world.westDb.query('update tandem.epoch set number = $1, site = $2, move = $3', [number, site, by]);
const heldHere = async (): Promise<unknown> =>
  (await world.westDb.query('select number::int, site, move from tandem.epoch'))[0];
const setRight = ({ site, epoch }: Right, half: string): Promise<unknown> =>
  world.westDb.query('update tandem.serving set site = $1, epoch = $2 where half = $3', [site, epoch, half]);
const rightTo = async (half: string): Promise<unknown> =>
  (await world.westDb.query('select site, epoch::int from tandem.serving where half = $1', [half]))[0];

describe('as the rules say', () => {
  it('`tandem.fence` takes an epoch, or refuses it, for every pair of epochs', async () => {
    const wrong: unknown[] = [];
    const connection = new Client({ connectionString: world.settings.customers.get(CUSTOMER)?.databaseUrl });
    await connection.connect();
    for (const held of epochs)
      for (const offered of epochs) {
        await setEpoch(held);
        const { rows } = await connection.query<{ outcome: string }>(
          'select outcome from tandem.fence($1, $2, $3, $4)',
          [CUSTOMER, offered.number, offered.site, offered.move],
        );
        const answer = answerClaim(held, offered);
        const outcome = answer === 'taken' || answer === 'same' ? 'closed' : 'refused';
        const left = answer === 'taken' ? offered : held;
        if (rows[0]?.outcome !== outcome || JSON.stringify(await heldHere()) !== JSON.stringify(left))
          wrong.push({ held, offered, answer, rows });
      }
    await connection.end();
    expect(wrong).toEqual([]);
  });

  it('a store of claims takes one, or refuses it, for every pair of epochs of two numbers', async () => {
    const stores = { east: new S3Vault(world.vaults.witness.east), west: new S3Vault(world.vaults.witness.west) };
    const claim = (customer: string, epoch: Epoch): Promise<Epoch | null> => {
      const site = epoch.site === 'east' ? 'east' : 'west';
      return claimEpoch(stores[site], { ...world.settings, site, signingKey: world.keys[site] }, customer, epoch);
    };
    const few = epochs.filter(({ number }) => number < 3);
    const pairs = few.flatMap((held) => few.map((offered) => ({ held, offered })));
    const wrong = await Promise.all(
      pairs.map(async ({ held, offered }, i) => {
        const first = await claim(`pair-${i}`, held);
        const against = await claim(`pair-${i}`, offered);
        const answer = answerClaim(held, offered);
        const right = first === null && (against === null) === (answer === 'taken' || answer === 'same');
        return right ? [] : [{ held, offered, answer, against }];
      }),
    );
    expect(wrong.flat()).toEqual([]);
    Object.values(stores).forEach((store) => store.close());
  });

  it('a site obeys what its peer has claimed, for every epoch that it may hold itself', async () => {
    const east = new S3Vault(world.vaults.east);
    const eastSettings = { ...world.settings, site: 'east', signingKey: world.keys.east };
    const claimed = { number: 2, site: 'east', move: 'a' };
    await claimEpoch(east, eastSettings, CUSTOMER, claimed);
    east.close();
    const wrong: unknown[] = [];
    for (const held of epochs) {
      await setEpoch(held);
      const does = obey(held, claimed);
      const obeyed = await obeyNewerEpoch(world.settings, CUSTOMER, world.westDb);
      const left = does === 'obey' ? claimed : held;
      if ((obeyed !== null) !== (does === 'obey') || JSON.stringify(await heldHere()) !== JSON.stringify(left))
        wrong.push({ held, does, obeyed });
    }
    expect(wrong).toEqual([]);
  });

  it('`tandem.may_serve`, `tandem.observe` and `tandem.served` agree who serves a half, for every row and newest number', async () => {
    const wrong: unknown[] = [];
    for (const right of rights)
      for (const newest of numbers) {
        await setEpoch({ number: newest, site: 'west', move: 'a' });
        await setRight(right, 'east');
        const [found] = await world.westDb.query(
          `select tandem.may_serve('e1') as may, (select open from tandem.observe() where half = 'east') as open,
                  exists (select from tandem.served where half = 'east') as served`,
        );
        const serves = servesBy(right, 'west', newest);
        if (JSON.stringify(found) !== JSON.stringify({ may: serves, open: serves, served: serves }))
          wrong.push({ right, newest, serves, found });
      }
    await world.westDb.query("delete from tandem.serving where half = 'east'");
    const [none] = await world.westDb.query("select tandem.may_serve('e1') as may");
    await world.westDb.query("insert into tandem.serving values ($1, 'east', 'east', 1)", [CUSTOMER]);
    expect(none).toEqual({ may: servesBy(null, 'west', 1) });
    expect(wrong).toEqual([]);
  });

  it('a site that follows a planned move goes on serving what that leaves to it, for every row, number and claim', async () => {
    const wrong: unknown[] = [];
    for (const right of rights)
      for (const held of numbers)
        for (const follows of numbers)
          for (const keeps of [[], ['east'], ['west']]) {
            await setEpoch({ number: held, site: 'east', move: 'before' });
            await setRight(right, 'east');
            const claim = { number: 4, site: 'east', move: 'a', follows, keeps };
            await world.westDb.query("select tandem.follow('contoso', 4, 'east', 'a', $1, $2)", [follows, keeps]);
            const stays = keepsUnder(claim, { ...right, half: 'east' }, 'west', held);
            // What is the claimant's is known under its number, whatever stood here.
            const left = stays || right.site === 'east' ? { ...right, epoch: 4 } : right;
            if (JSON.stringify(await rightTo('east')) !== JSON.stringify(left))
              wrong.push({ right, held, claim, left });
          }
    expect(wrong).toEqual([]);
  });

  it('`serve-users` writes its right over what stands, or does not, for every row', async () => {
    const wrong: unknown[] = [];
    await setEpoch({ number: 2, site: 'west', move });
    for (const [round, right] of rights.entries()) {
      await setRight(right, 'east');
      const offered = { site: 'west', epoch: 2 };
      const kind = await kindOf(serveUsers(world.west, step('serve-users', move, 2, undefined, round)));
      const takes = mayTake(right, offered);
      const left = takes ? offered : right;
      if ((kind === 'no failure') !== takes || JSON.stringify(await rightTo('east')) !== JSON.stringify(left))
        wrong.push({ right, takes, kind });
    }
    expect(wrong).toEqual([]);
  });

  it('`advance-epoch` takes rights along, or leaves them behind, for every row', async () => {
    await world.eastDb.query('update tandem.serving set epoch = 0');
    const wrong: unknown[] = [];
    for (const [round, { site, epoch }] of rights.entries()) {
      const held = 10 + 2 * round;
      const right = { site, epoch: held - 2 + epoch }; // One behind the newest, of it, and one ahead.
      await setEpoch({ number: held, site: 'west', move: 'before' });
      await setRight(right, 'east');
      await advanceEpoch(world.west, step('advance-epoch', move, held + 1, undefined, round));
      const left = goesAlong(right, 'west', held) ? { ...right, epoch: held + 1 } : right;
      if (JSON.stringify(await rightTo('east')) !== JSON.stringify(left)) wrong.push({ held, right, left });
    }
    expect(wrong).toEqual([]);
  });
});
