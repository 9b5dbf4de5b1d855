import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { Stack } from '../../../ops/embedded/stack.ts';
import { Line, type Manner } from '../../rig/line.ts';

/** What a site reaches by a line of its own. */
export type Reached = 'peer-database' | 'peer-vault' | 'peer-temporal' | 'own-vault' | 'witness';

/** All that a site reaches of its peer. */
export const PEER = ['peer-database', 'peer-vault', 'peer-temporal'] as const satisfies Reached[];

/** As much of tandem.yaml as has an address in it. */
interface Document {
  sites: Record<string, { temporal: { address: string }; vault: { endpoint: string } }>;
  customers: Record<string, { databases: Record<string, { 'peer-url': { file: string } }>; 'self-fence'?: string }>;
  witness: { endpoint: string };
}

/** A site that sees neither its peer nor the witness for so long closes itself: the least that is allowed. */
const SELF_FENCE = '1m';

/** The lines of both sites of a stack; each site's worker has a configuration of its own, in which they stand for the real addresses. */
export class Lines {
  private readonly lines = new Map<string, Record<Reached, Line>>();
  private readonly configurations = new Map<string, string>();
  private readonly selfFence: boolean;

  private constructor(selfFence: boolean) {
    this.selfFence = selfFence;
  }

  static async open(stack: Stack, selfFence: boolean): Promise<Lines> {
    const lines = new Lines(selfFence);
    for (const site of Object.keys(stack.sites)) await lines.add(stack, site);
    return lines;
  }

  configurationOf(site: string): string {
    const path = this.configurations.get(site);
    if (path === undefined) throw new Error(`no lines at ${site}`);
    return path;
  }

  async cut(site: string, what: readonly Reached[], manner: Manner): Promise<void> {
    await Promise.all(what.map((one) => this.line(site, one).cut(manner)));
  }

  async heal(): Promise<void> {
    await Promise.all([...this.lines.values()].flatMap((of) => Object.values(of).map((line) => line.heal())));
  }

  async close(): Promise<void> {
    await Promise.all([...this.lines.values()].flatMap((of) => Object.values(of).map((line) => line.close())));
  }

  private line(site: string, what: Reached): Line {
    const line = this.lines.get(site)?.[what];
    if (!line) throw new Error(`no line to ${what} at ${site}`);
    return line;
  }

  private async add({ folder, configuration, customer, sites }: Stack, site: string): Promise<void> {
    const document = parse(await readFile(configuration, 'utf8')) as Document;
    const peer = Object.keys(sites).find((one) => one !== site) ?? '';
    const [own, other, served] = [document.sites[site], document.sites[peer], document.customers[customer]];
    const database = served?.databases[peer];
    if (!own || !other || !database) throw new Error(`${configuration}: not that of ${site} and its peer`);
    const url = new URL(await readFile(join(folder, database['peer-url'].file), 'utf8'));
    const of: Record<Reached, Line> = {
      'peer-database': await Line.to({ host: url.hostname, port: Number(url.port) }),
      'peer-vault': await lineTo(other.vault.endpoint),
      'peer-temporal': await lineTo(`http://${other.temporal.address}`),
      'own-vault': await lineTo(own.vault.endpoint),
      witness: await lineTo(document.witness.endpoint),
    };
    this.lines.set(site, of);
    const at = (what: Reached): string => `127.0.0.1:${of[what].port}`;
    other.vault.endpoint = `http://${at('peer-vault')}`;
    other.temporal.address = at('peer-temporal');
    own.vault.endpoint = `http://${at('own-vault')}`;
    document.witness.endpoint = `http://${at('witness')}`;
    if (this.selfFence) served['self-fence'] = SELF_FENCE;
    const secret = `secrets/${site}-sees-${peer}-database`;
    url.host = at('peer-database');
    await writeFile(join(folder, secret), url.toString(), { mode: 0o600 });
    database['peer-url'].file = secret;
    const path = join(folder, `${site}.yaml`);
    await writeFile(path, stringify(document));
    this.configurations.set(site, path);
  }
}

function lineTo(address: string): Promise<Line> {
  const { hostname, port } = new URL(address);
  return Line.to({ host: hostname, port: Number(port) });
}
