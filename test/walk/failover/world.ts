import type { KeyObject } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { openSite } from '../../../activities/services/site.ts';
import { switchesOf } from '../../../activities/traffic/act.ts';
import type { Shift, TrafficSwitch } from '../../../activities/traffic/port.ts';
import { readConfiguration } from '../../../ops/config/configuration.ts';
import { settingsFor } from '../../../ops/config/settings.ts';
import { operatorKeyPath } from '../../../ops/embedded/configuration.ts';
import { down, killSite, livingProcesses, type ProcessName } from '../../../ops/embedded/control.ts';
import { compareWitness, makeWitness } from '../../../ops/embedded/demo/witness.ts';
import { populate } from '../../../ops/embedded/people/populate.ts';
import { stopProcess, type ProcessRecord } from '../../../ops/embedded/processes.ts';
import { startWorker, up, type Stack } from '../../../ops/embedded/stack.ts';
import { answersHttp } from '../../../ops/embedded/temporal.ts';
import { loadPrivateKey } from '../../../ops/keys.ts';
import { snapshotNow, standbyNow } from '../../../ops/snapshots.ts';
import { connectClient } from '../../../ops/temporal.ts';
import type { Epoch } from '../../../workflows/model/epoch.ts';
import { sql, spareDisk } from '../../rig/sql.ts';
import { Lines } from '../partitions/lines.ts';
import { familyOf, signalAll } from './family.ts';

export const LOST = 'east';
export const SURVIVOR = 'west';
const OPERATORS = ['operator-1', 'operator-2'];

const TRAFFIC_LIMIT_MS = 10_000;

export interface WorldOptions {
  users: number;
  /** Whether users are served by real servers, with a proxy and a name server before them. */
  service: boolean;
  /** Whether each worker reaches what is not its own by lines that can be cut. */
  lines?: boolean;
  /** Whether a site there that sees nobody closes itself; failovers by a statement then wait for that. */
  selfFence?: boolean;
}

/** Two real sites with people; for a failover one of them is lost, its snapshot covered by the other, again and again. */
export class World {
  readonly stack: Stack;
  readonly operators: ReadonlyMap<string, KeyObject>;
  private readonly options: WorldOptions;
  private readonly own: Lines | null;
  private filled = false;

  private constructor(
    stack: Stack,
    operators: ReadonlyMap<string, KeyObject>,
    options: WorldOptions,
    lines: Lines | null,
  ) {
    this.stack = stack;
    this.operators = operators;
    this.options = options;
    this.own = lines;
  }

  static async open(options: WorldOptions): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'tandem-walk-'));
    let lines: Lines | null = null;
    try {
      const stack = await up({ folder, workers: !options.lines, service: options.service });
      if (options.lines) lines = await Lines.open(stack, options.selfFence === true);
      for (const { superuserUrl } of Object.values(stack.sites)) await spareDisk(superuserUrl);
      const keys = OPERATORS.map(async (id) => [id, await loadPrivateKey(operatorKeyPath(folder, id))] as const);
      const world = new World(stack, new Map(await Promise.all(keys)), options, lines);
      if (lines) await world.mend(Object.keys(stack.sites));
      return world;
    } catch (error) {
      await down(folder);
      await lines?.close();
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  get lines(): Lines {
    if (!this.own) throw new Error('this world has no lines');
    return this.own;
  }

  get customer(): string {
    return this.stack.customer;
  }

  /** The survivor's contacts. */
  get url(): string {
    return this.urlOf(SURVIVOR);
  }

  /** Fills both sites, covers the one that will be lost, and ends every process of it. */
  async loseSite(): Promise<void> {
    await this.fill();
    await makeWitness(this.urlOf(LOST), this.url, LOST);
    await this.cover(LOST, SURVIVOR);
    await killSite(this.stack.folder, LOST);
  }

  /** Gives both sites their people, once. */
  async fill(): Promise<void> {
    if (this.filled) return;
    const [east, west] = await Promise.all([this.client(LOST), this.client(SURVIVOR)]);
    const { users } = this.options;
    await populate(this.stack, { seed: 'walk', users }, (site) => Promise.resolve(site === LOST ? east : west));
    await Promise.all([east, west].map((client) => client.connection.close()));
    this.filled = true;
  }

  /** Takes a snapshot of a site, and has the other one hold it. */
  async cover(site: string, by: string): Promise<void> {
    const { customer, stack } = this;
    const configured = (await readConfiguration(stack.configuration)).customers.get(customer);
    if (!configured) throw new Error(`no customer ${customer}`);
    const own = { id: customer, snapshots: configured.snapshots };
    const temporals = await Promise.all([site, by].map((at) => this.client(at)));
    const [from, to] = temporals;
    if (!from || !to) throw new Error('two sites');
    await snapshotNow(from, site, own);
    await standbyNow(to, by, own);
    await Promise.all(temporals.map((client) => client.connection.close()));
  }

  async client(site: string = SURVIVOR): Promise<Client> {
    return connectClient({ address: this.stack.sites[site]?.temporalAddress ?? '', namespace: 'tandem' });
  }

  /** As if the users of the lost half had come home; and what the survivor holds of it is wrong for every third user. */
  async closeAgain(): Promise<void> {
    const third = `select username from tandem.home where site = '${LOST}' and hashtext(username) % 3 = 0`;
    await sql(this.url, `update tandem.serving set site = half where half = '${LOST}'`);
    await sql(this.url, `update rosterusers set nick = nick || '~' where username in (${third})`);
    const lists = `select id from privacy_list where username in (${third})`;
    await sql(this.url, `delete from privacy_list_data where id in (${lists})`);
    await this.switches((traffic, shift, signal) => traffic.shift({ ...shift, to: [LOST, SURVIVOR] }, signal));
  }

  /** What does not lead users to the survivor alone; nothing where there is nothing to lead them. */
  async misleading(): Promise<string[]> {
    const told = await this.switches((traffic, shift, signal) => traffic.look({ ...shift, to: [SURVIVOR] }, signal));
    return told.filter(({ seen }) => !seen).map(({ summary }) => summary);
  }

  /** Every switch of the survivor, under the epoch that it holds. */
  private async switches<T>(
    work: (traffic: TrafficSwitch, shift: Omit<Shift, 'to'>, signal: AbortSignal) => Promise<T>,
  ): Promise<T[]> {
    const { customer, stack } = this;
    const configuration = await readConfiguration(stack.configuration);
    const site = openSite(await settingsFor(configuration, SURVIVOR, { reportsFolder: stack.folder }));
    const [row] = await sql<Epoch & { number: string }>(this.url, 'select number, site, move from tandem.epoch');
    if (!row) throw new Error('no epoch');
    const shift = { customer, epoch: { ...row, number: Number(row.number) } };
    const limit = AbortSignal.timeout(TRAFFIC_LIMIT_MS);
    try {
      return await Promise.all(Object.values(switchesOf(site, customer)).map((s) => work(s, shift, limit)));
    } finally {
      await site.close();
    }
  }

  /** Rows of the lost half that are not as they were at its own site. */
  async differences(): Promise<number> {
    return compareWitness(this.url, LOST);
  }

  /** Users of the lost half that the survivor serves, and all of them. */
  async served(): Promise<{ now: number; all: number }> {
    const [row] = await sql<{ now: number; all: number }>(
      this.url,
      `select count(*)::int as all, count(*) filter (where tandem.may_serve(username))::int as now
         from tandem.home where site = '${LOST}'`,
    );
    return row ?? { now: -1, all: -1 };
  }

  /** Starts what is not running. */
  async mend(sites = [SURVIVOR]): Promise<void> {
    await this.mendServers(sites);
    if (this.own) await Promise.all(sites.map((site) => this.mendWorker(site)));
  }

  /** All but workers, where those go by lines. */
  async mendServers(sites: string[]): Promise<void> {
    await up({ folder: this.stack.folder, sites, workers: this.own === null, service: this.options.service });
  }

  /** That of a site that goes by lines; waits until it is ready. */
  async mendWorker(site: string): Promise<void> {
    const { folder } = this.stack;
    if (!(await this.process(site, 'worker'))) await startWorker(folder, site, this.lines.configurationOf(site));
    await answersHttp(folder, site, 'worker', `${this.stack.sites[site]?.workerUrl}/ready`);
  }

  /** With -9. What a worker had under way has to end by itself; a database is not started beside what is left of it. */
  async kill(site: string, name: ProcessName): Promise<void> {
    const record = await this.process(site, name);
    if (!record) return;
    const [, ...children] = await familyOf(record.pid);
    await stopProcess(this.stack.folder, record, 'SIGKILL', 10_000);
    signalAll(children, name === 'postgres' ? 'SIGKILL' : 'SIGCONT');
  }

  async signal(site: string, name: ProcessName, signal: NodeJS.Signals): Promise<void> {
    const record = await this.process(site, name);
    if (!record) throw new Error(`no ${name} at ${site}`);
    signalAll(await familyOf(record.pid), signal);
  }

  private async process(site: string, name: ProcessName): Promise<ProcessRecord | undefined> {
    return (await livingProcesses(this.stack.folder)).find((r) => r.site === site && r.name === name);
  }

  /** The Temporal service of a site knows nothing any more. */
  async dropTemporal(site: string): Promise<void> {
    const admin = this.stack.sites[site]?.superuserUrl ?? '';
    for (const name of ['temporal', 'temporal_visibility']) {
      await sql(admin, `drop database ${name} with (force)`);
      await sql(admin, `create database ${name} owner temporal`);
    }
  }

  async close(): Promise<void> {
    await down(this.stack.folder);
    await this.own?.close();
    await rm(this.stack.folder, { recursive: true, force: true });
  }

  urlOf(site: string): string {
    return this.stack.sites[site]?.databaseUrl ?? '';
  }
}
