import { generateKeyPairSync, randomBytes, randomUUID, type KeyObject } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Database } from '../../activities/contacts/database.ts';
import { prepareContactDatabase } from '../../activities/contacts/prepare.ts';
import { claimMove } from '../../activities/journal/moves.ts';
import { anchorOperators } from '../../activities/services/operators.ts';
import { openSite, type OwnSite } from '../../activities/services/site.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import type { PlannedStep } from '../../activities/services/planned.ts';
import type { FailoverInput } from '../../workflows/model/moves.ts';
import type { Act } from '../../workflows/model/acts.ts';
import type { Isolation, Plan, Step } from '../../workflows/model/plan.ts';
import { failureKind } from '../../workflows/model/failures.ts';
import { filledDatabases } from '../rig/databases.ts';
import { scratchVaults, type ScratchVaults } from '../rig/vaults.ts';

export const CUSTOMER = 'contoso';
const HOUR = 3_600_000;

/** Sites east and west of one customer, with databases and vaults of their own. West is the survivor: it acts. */
export interface World {
  west: OwnSite;
  settings: SiteSettings;
  customer: CustomerSettings;
  eastDb: Database;
  westDb: Database;
  /** Both as their owners. */
  urls: { east: string; west: string };
  vaults: ScratchVaults;
  keys: { east: KeyObject; west: KeyObject };
  /** West again, with other settings; closed with the world. */
  westWith(change: { customer?: Partial<CustomerSettings>; site?: Partial<SiteSettings> }): OwnSite;
  close(): Promise<void>;
}

const limits = { connections: 4, connectMs: 5000, statementMs: 20_000 };

/** `locks`: whether the vaults hold what was put there until its time; left out only where days go by and something is to be deleted. */
export async function makeWorld({ locks = true } = {}): Promise<World> {
  const [{ east, west }, vaults] = await Promise.all([
    filledDatabases('homes of five', ({ east: e, west: w }) => Promise.all([prepare('east', e), prepare('west', w)])),
    scratchVaults({ locks }),
  ]);
  const eastDb = new Database('east', east.url, limits);
  const westDb = new Database('west', west.url, limits);
  const [eastKeys, westKeys] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];
  const reportsFolder = await mkdtemp(join(tmpdir(), 'tandem-reports-'));
  const customer: CustomerSettings = {
    id: CUSTOMER,
    domain: 'contoso.example',
    sites: ['east', 'west'],
    peer: 'east',
    databaseUrl: west.url,
    peerDatabaseUrl: east.peerUrl,
    keys: { current: 'k1', ring: new Map([['k1', randomBytes(32)]]) },
    options: [],
    objectives: { rpoMs: 8 * HOUR, rtoMs: 24 * HOUR },
    target: { rpoMs: 3 * HOUR, rtoMs: HOUR / 2 },
    snapshots: { everyMs: 8 * HOUR, betweenMs: 2 * HOUR, budgetMs: HOUR / 2, pullBytesPerSecond: null },
    continuityTest: { month: 3, day: 1, hour: 2 },
    limits: { contacts: 250 },
    parties: new Map(),
    runbooks: new Map(),
  };
  const settings: SiteSettings = {
    site: 'west',
    vault: vaults.west,
    cleaner: vaults.westCleaner,
    witness: null,
    services: new Map(),
    peerVaults: new Map([['east', vaults.eastReader]]),
    peerTemporals: new Map([['east', { address: '127.0.0.1:1', namespace: 'default' }]]),
    signingKey: westKeys.privateKey,
    publicKeys: new Map([
      ['east', eastKeys.publicKey],
      ['west', westKeys.publicKey],
    ]),
    customers: new Map([[CUSTOMER, customer]]),
    operators: [
      { id: 'bo', key: 'b0', roles: ['operate'] },
      { id: 'al', key: 'a1', roles: ['commander', 'approve'] },
      { id: 'di', key: 'd1', roles: ['declare'] },
    ],
    channels: new Map(),
    paging: [],
    callbacks: null,
    reportsFolder,
    requests: new Map(),
    commands: new Map(),
  };
  await anchorOperators(westDb, settings.operators);
  const sites: OwnSite[] = [openSite(settings)];
  const [first] = sites;
  if (!first) throw new Error('unreachable');
  return {
    west: first,
    settings,
    customer,
    eastDb,
    westDb,
    urls: { east: east.url, west: west.url },
    vaults,
    keys: { east: eastKeys.privateKey, west: westKeys.privateKey },
    westWith({ customer: changed, site }) {
      const opened = openSite({ ...settings, ...site, customers: new Map([[CUSTOMER, { ...customer, ...changed }]]) });
      sites.push(opened);
      return opened;
    },
    async close() {
      await Promise.all([...sites.map((s) => s.close()), eastDb.close(), westDb.close()]);
      await Promise.all([east.drop(), west.drop(), rm(reportsFolder, { recursive: true })]);
    },
  };
}

async function prepare(site: string, url: string): Promise<void> {
  const database = new Database(site, url, limits);
  await prepareContactDatabase(database, CUSTOMER, site, ['east', 'west']);
  await database.query(
    "insert into tandem.home values ('e1', 'east'), ('e2', 'east'), ('e3', 'east'), ('w1', 'west'), ('w2', 'west')",
  );
  await database.close();
}

export const input = (change: Partial<FailoverInput> = {}): FailoverInput => ({
  customer: CUSTOMER,
  from: 'east',
  reason: 'fire in the hall',
  requestedBy: 'di',
  isolation: 'power cut by the fire brigade, told by al',
  ...change,
});

/** A move that holds the slot, as a failover has it before its first step. */
export async function startMove(world: World, move: string = randomUUID()): Promise<string> {
  await claimMove(world.west, {
    input: input(),
    run: move,
    workflowId: `failover/${CUSTOMER}`,
    at: new Date().toISOString(),
  });
  return move;
}

export async function endMove(world: World, move: string): Promise<void> {
  await world.westDb.query("update tandem.move set ended_at = now(), phase = 'aborted' where move = $1", [move]);
}

export const isolated: Isolation = {
  verdict: 'unknown',
  observers: [{ name: 'database', saw: 'unreachable' }],
  statement: 'power cut by the fire brigade, told by al',
};

/** The input of one act, with as much of a plan as acts look at. */
export function step(act: Act, move: string, epoch: number, isolation: Isolation = isolated, round = 0): PlannedStep {
  const plan = { decisions: { from: 'east', to: 'west', epoch, isolation, steps: [] as Step[] } } as unknown as Plan;
  return { key: { customer: CUSTOMER, epoch: { number: epoch, site: 'west', move }, step: act, round }, act, plan };
}

/** How a promise fails: its kind, or the error's text when it is none of ours. */
export async function kindOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'no failure';
  } catch (error) {
    return failureKind(error) ?? String(error);
  }
}

/** Settings that send every call to east to one address. */
export function eastAt(world: World, host: string): Parameters<World['westWith']>[0] {
  return {
    customer: { peerDatabaseUrl: `postgres://tandem_peer:x@${host}/contacts` },
    site: {
      peerVaults: new Map([['east', { ...world.vaults.eastReader, endpoint: `http://${host}` }]]),
      peerTemporals: new Map([['east', { address: host, namespace: 'default' }]]),
    },
  };
}
