import { chmod, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ProbeQuestion, ProbeResult, ProbedService } from '../../activities/probes/services/port.ts';
import { probeService } from '../../activities/probes/services/probe.ts';
import { prepareTables } from '../../ops/embedded/people/people.ts';
import { stopProcess, type ProcessRecord } from '../../ops/embedded/processes.ts';
import { certificateFor, openAuthority } from '../../ops/reference-service/authority.ts';
import {
  nodeOf,
  type EjabberdOptions,
  type EjabberdPorts,
} from '../../ops/reference-service/ejabberd/configuration.ts';
import type { Ejabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { makeServiceTables, startEjabberd } from '../../ops/reference-service/ejabberd/site.ts';
import { scratchDatabase, type ScratchDatabase, type Site } from '../rig/databases.ts';
import { Asker } from '../rig/erlang.ts';
import { freePort } from '../rig/ports.ts';
import { sql } from '../rig/sql.ts';
import { scramRow } from '../rig/xmpp.ts';

/** One site of the reference service, as probes find it: two ejabberd over one database, one with all that was bought, one with as little as can be. */

export const DOMAIN = 'acme.example';
export const PASSWORD = 'a password of the probes';
const names = { first: 'probe-1', second: 'probe-2', third: 'probe-3' } as const;

export interface Service {
  folder: string;
  authority: string;
  database: ScratchDatabase;
  /** Starts one more ejabberd over the same database, as another site of the stack. */
  start(site: string, address: string, change?: Partial<EjabberdOptions>): Promise<Running>;
  /** The database of another site, with the same users; its URL. */
  databaseOf(site: Site): Promise<string>;
  /** Adds an account that is served here. */
  register(user: string, password: string): Promise<void>;
  unregister(user: string): Promise<void>;
  stop(): Promise<void>;
}

export interface Running {
  record: ProcessRecord;
  options: EjabberdOptions;
  /** What a probe of it is asked, with all accounts, unless something else is said. */
  question(service: ProbedService, change?: Partial<ProbeQuestion>): ProbeQuestion;
  probe(service: ProbedService, change?: Partial<ProbeQuestion>): Promise<ProbeResult>;
  /** Sessions that the service holds for the accounts, resumable ones among them. */
  sessions(): Promise<number>;
  /** Whether it takes what comes from the servers of a domain, and sends to them. */
  federatesWith(domain: string): Promise<boolean>;
  /** Makes it trust these authorities (PEM) and no others. */
  trust(authorities: string): Promise<void>;
  /** Makes it show another certificate (PEM, with its key). */
  show(certificate: string): Promise<void>;
  /** Leads it by a DNS on loopback instead of the machine's. */
  resolveBy(port: number): Promise<void>;
  /** Makes it forget where users are at home. */
  lookAgain(): Promise<void>;
  /** Does `work` while a module is off. */
  without<T>(module: string, work: () => Promise<T>): Promise<T>;
}

export async function openService(ejabberd: Ejabberd): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-probes-'));
  await chmod(folder, 0o755); // Mnesia wants to be let in.
  const databases: ScratchDatabase[] = [];
  const databaseOf = async (site: Site): Promise<ScratchDatabase> => {
    const made = await scratchDatabase(site);
    databases.push(made);
    await prepareTables(made.url, 'acme', site, ['east', 'west']);
    await makeServiceTables(ejabberd, made.url);
    for (const user of Object.values(names)) await addUser(made.url, user, PASSWORD);
    await befriend(made.url);
    return made;
  };
  const database = await databaseOf('east');
  const tls = await openAuthority(join(folder, 'tls'));
  const ca = await readFile(tls.certificate, 'utf8');
  const at = (text: string): Promise<unknown> => sql(database.url, text);
  const processes: ProcessRecord[] = [];
  const askers: Asker[] = [];
  return {
    folder,
    authority: tls.certificate,
    database,
    databaseOf: async (site) => (await databaseOf(site)).url,
    register: (user, password) => addUser(database.url, user, password),
    unregister: async (user) => void (await at(`delete from users where username = '${user}'`)),
    async start(site, address, change = {}) {
      const options: EjabberdOptions = {
        site,
        domain: DOMAIN,
        address,
        ports: await allPorts(),
        databaseUrl: database.url,
        certificate: await certificateFor(tls, join(folder, 'tls', `${address}.pem`), [DOMAIN, address]),
        authority: tls.certificate,
        // The right to serve is that of site east: its name is what the rows say.
        peer: { site: 'west', address: '127.0.0.9' },
        ...change,
      };
      const record = await startEjabberd(folder, ejabberd, options);
      processes.push(record);
      const home = join(folder, 'data', site, 'ejabberd');
      const asker = new Asker({ node: nodeOf(site, address), port: options.ports.distribution, home });
      askers.push(asker);
      return running({ record, options, home, asker, ca });
    },
    async stop() {
      for (const asker of askers) asker.close();
      for (const record of processes) {
        process.kill(record.pid, 'SIGCONT');
        await stopProcess(folder, record, 'SIGKILL', 5000);
      }
      await Promise.all(databases.map((one) => one.drop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function allPorts(): Promise<Required<EjabberdPorts>> {
  const [clients, distribution, management, web, stun, servers] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  return { clients, distribution, management, web, stun, servers };
}

async function addUser(url: string, user: string, password: string): Promise<void> {
  const row = scramRow(user, password).map((cell) => (typeof cell === 'number' ? cell : `'${cell}'`));
  await sql(
    url,
    `insert into users (username, password, serverkey, salt, iterationcount) values (${row.join()});
     insert into tandem.home values ('${user}', 'east')`,
  );
}

/** As an operator prepares the accounts: the first two know each other, the second has blocked the third. */
async function befriend(url: string): Promise<void> {
  const { first, second, third } = names;
  const contact = (of: string, who: string): string =>
    `insert into rosterusers (username, jid, nick, subscription, ask, askmessage, server, subscribe, type)
       values ('${of}', '${who}@${DOMAIN}', '', 'B', 'N', '', 'N', '', 'item')`;
  await sql(
    url,
    `${contact(first, second)}; ${contact(second, first)};
     insert into privacy_list (username, name, id) values ('${second}', 'Blocked contacts', 1);
     insert into privacy_list_data (id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out)
       values (1, 'j', '${third}@${DOMAIN}', 'd', 1, true, false, false, false, false);
     insert into privacy_default_list (username, name) values ('${second}', 'Blocked contacts')`,
  );
}

interface Started {
  record: ProcessRecord;
  options: EjabberdOptions;
  home: string;
  asker: Asker;
  /** PEM. */
  ca: string;
}

/** How many other certificates were shown. */
let shown = 0;

function running({ record, options, home, asker, ca }: Started): Running {
  const { address, ports, bought } = options;
  const account = (who: keyof typeof names) => ({ user: names[who], password: PASSWORD });
  const question: Running['question'] = (service, change = {}) => ({
    service,
    target: {
      domain: DOMAIN,
      clients: `${address}:${ports.clients}`,
      web: `https://${DOMAIN}:${ports.web}`,
      address,
      resolver: null,
      ca,
    },
    accounts: { first: account('first'), second: account('second'), third: account('third') },
    relay: bought?.externalAv ?? false,
    partner: null,
    provisioner: null,
    limitMs: 15_000,
    signal: new AbortController().signal,
    ...change,
  });
  const module = (name: string, which: string): Promise<string> =>
    asker.call({ module: 'gen_mod', name, args: [DOMAIN, { term: which }] });
  return {
    record,
    options,
    question,
    probe: (service, change) => probeService(question(service, change)),
    async sessions() {
      const told = await asker.call({ module: 'ejabberd_sm', name: 'connected_users_number', args: [] });
      return Number(told);
    },
    async federatesWith(domain) {
      return (await asker.call({ module: 'ejabberd_s2s', name: 'allow_host', args: [DOMAIN, domain] })) === 'true';
    },
    async trust(authorities) {
      await writeFile(join(home, 'ca.pem'), authorities);
      // Of TLS, ejabberd keeps what it has read of the file for as long as its time does not change.
      await asker.call({ module: 'ejabberd_config', name: 'reload', args: [] });
    },
    async show(certificate) {
      await writeFile(join(home, 'site.pem'), certificate);
      // It reads again what is newer, by whole seconds.
      const written = new Date(Date.now() + 2000 * (shown += 1));
      await utimes(join(home, 'site.pem'), written, written);
      await asker.call({ module: 'ejabberd_config', name: 'reload', args: [] });
    },
    async resolveBy(port) {
      const set = (name: string, ...terms: string[]): Promise<string> =>
        asker.call({ module: 'inet_db', name, args: terms.map((term) => ({ term })) });
      await set('set_lookup', '[file, dns]');
      await set('res_option', 'resolv_conf', '""'); // Else that is read again.
      await set('res_option', 'nameservers', `[{{127,0,0,1},${port}}]`);
    },
    async lookAgain() {
      await asker.call({ module: 'mod_tandem_rights', name: 'look_again', args: [DOMAIN] });
    },
    async without(which, work) {
      await module('stop_module', which);
      try {
        return await work();
      } finally {
        await module('start_module', which);
      }
    },
  };
}
