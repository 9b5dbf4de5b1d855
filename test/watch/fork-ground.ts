import { randomBytes, randomUUID, sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { claimMove } from '../../activities/journal/moves.ts';
import { anchorOperators } from '../../activities/services/operators.ts';
import { forkHere } from '../../activities/services/fork.ts';
import { pickByWord, pickWordText, type PickWord } from '../../activities/services/pick-words.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { linesOf } from '../../workflows/model/fork.ts';
import type { Approver } from '../../workflows/model/plan.ts';
import type { Act } from '../../workflows/model/acts.ts';
import { CUSTOMER, input, step, type World } from '../failover-acts/world.ts';
import { wayTo, type Way } from '../rig/way.ts';
import { keys, people } from '../services/closed-ground.ts';

const operators: Approver[] = [...people, { id: 'di', key: 'd1', roles: ['declare'] }];

/** Two sites, and the ways between them, which can be cut. */
export interface Apart {
  east: OwnSite;
  west: OwnSite;
  cut(silent: boolean): void;
  close(): Promise<void>;
}

export async function apart(world: World): Promise<Apart> {
  const ways: Way[] = [];
  const through = async (address: string): Promise<string> => {
    const url = new URL(address);
    const way = await wayTo(url.hostname, Number(url.port));
    ways.push(way);
    url.hostname = '127.0.0.1';
    url.port = String(way.port);
    return url.toString();
  };
  const schema = await readFile(new URL('../../ops/embedded/people/ejabberd.sql', import.meta.url), 'utf8');
  for (const db of [world.eastDb, world.westDb]) {
    await db.query(`set local search_path to public; ${schema}`);
    await db.query('delete from tandem.operator');
    await db.query('update tandem.identity set founded_at = null');
    await anchorOperators(db, operators);
  }
  const { vaults, keys: siteKeys } = world;
  const vaultOf = async (of: typeof vaults.eastReader) => ({ ...of, endpoint: await through(of.endpoint) });
  const west = world.westWith({
    customer: { peerDatabaseUrl: await through(world.customer.peerDatabaseUrl) },
    site: { operators, peerVaults: new Map([['east', await vaultOf(vaults.eastReader)]]) },
  });
  const east = world.westWith({
    customer: { peer: 'west', databaseUrl: world.urls.east, peerDatabaseUrl: await through(world.urls.west) },
    site: {
      site: 'east',
      operators,
      vault: vaults.east,
      signingKey: siteKeys.east,
      peerVaults: new Map([['west', await vaultOf(vaults.westReader)]]),
      peerTemporals: new Map([['west', { address: '127.0.0.1:1', namespace: 'default' }]]),
    },
  });
  return {
    east,
    west,
    cut(silent) {
      for (const way of ways) way.silent = silent;
    },
    async close() {
      await Promise.all(ways.map((way) => way.close()));
    },
  };
}

/** A failover from `from` takes the slot of this site. */
export async function slotAt(site: OwnSite, from: string): Promise<string> {
  const run = randomUUID();
  const declared = input({ from });
  await claimMove(site, { input: declared, run, workflowId: `failover/${CUSTOMER}`, at: new Date().toISOString() });
  return run;
}

/** The input of one act of a failover at this site from its peer. */
export function forkStep(site: OwnSite, act: Act, move: string, epoch = 2): PlannedStep {
  const own = site.settings.site;
  const { plan, key, ...rest } = step(act, move, epoch);
  const from = site.customer(CUSTOMER).peer;
  return {
    ...rest,
    key: { ...key, epoch: { number: epoch, site: own, move } },
    plan: { ...plan, decisions: { ...plan.decisions, from, to: own } },
  };
}

/** One operator's word for a line of the fork that stands at this site, given there. */
export async function wordFor(site: OwnSite, operator: 'al' | 'bo' | 'cy', line: string): Promise<PickWord> {
  const fork = await forkHere(site.database(CUSTOMER), CUSTOMER);
  if (!fork) throw new Error(`no fork stands at ${site.settings.site}`);
  const draft = {
    customer: CUSTOMER,
    number: fork.number,
    line,
    lines: linesOf(site.settings.site, site.customer(CUSTOMER).peer, fork),
    operator,
    because: 'its users have lost less',
    nonce: randomBytes(16).toString('hex'),
    expires: new Date(Date.now() + 3_000_000).toISOString(),
  };
  return {
    ...draft,
    signature: sign(null, Buffer.from(pickWordText(draft)), keys[operator].privateKey).toString('hex'),
  };
}

export async function give(site: OwnSite, operator: 'al' | 'bo' | 'cy', line: string): Promise<string[]> {
  const { peer } = site.customer(CUSTOMER);
  const hearing = { database: site.database(CUSTOMER), customer: CUSTOMER, peer, operators: people };
  return (await pickByWord(hearing, await wordFor(site, operator, line))).by;
}
