import type { Database } from '../activities/contacts/database.ts';
import type { Seen } from '../activities/probes/watch/seen.ts';
import {
  endFork,
  forkHere,
  noteFollowed,
  noteFork,
  PICK_PREFIX,
  settleFork,
  toldLines,
} from '../activities/services/fork.ts';
import { noteInJournal } from '../activities/services/fork-evidence.ts';
import { readOperators } from '../activities/services/operators.ts';
import { actOnPick, claimPickAgain } from '../activities/services/pick.ts';
import { keepTold } from '../activities/services/pick-words.ts';
import { askPeerFork } from '../activities/services/peer-fork.ts';
import { compareEpoch, type Epoch } from '../workflows/model/epoch.ts';
import { openSite, type OwnSite } from '../activities/services/site.ts';
import type { CustomerSettings, SiteSettings } from '../activities/settings.ts';

/**
 * What a site's worker does, from round to round, about an epoch that two moves have claimed: it notes that and closes, serves its
 * own half again once the peer has noted it as well, and acts on the line that operators pick.
 */
export class ForkGuard {
  private readonly settings: SiteSettings;
  private readonly customer: CustomerSettings;
  private readonly database: Database;
  private said = '';
  /** The number of which it was noted last that the peer holds it too. */
  private followed = -1;

  constructor(settings: SiteSettings, customer: CustomerSettings, database: Database) {
    this.settings = settings;
    this.customer = customer;
    this.database = database;
  }

  /** Answers what has changed by it, for people. */
  async act({ fork: seen, own, peer }: Seen, signal?: AbortSignal): Promise<string[]> {
    const { customer, database } = this;
    const { id } = customer;
    if (own.epoch && peer.epoch && compareEpoch(own.epoch, peer.epoch) === 'same') await this.follows(own.epoch);
    const noted = seen !== null && (await noteFork(database, customer, seen));
    const lines = noted ? [`${id}: FORK: ${toldLines(seen)}; CLOSED until the peer has noted it as well`] : [];
    const ended = noted ? null : await endFork(database, id);
    if (ended) lines.push(`${id}: the fork at epoch ${ended.number} has ended: ${endedBy(ended.picked)}`);
    const [line] = lines;
    if (line !== undefined) await this.atSite((site) => noteInJournal(site, id, line, signal));
    const fork = await forkHere(database, id);
    if (fork) return [...lines, ...(await this.stands(signal))];
    const { epoch } = own;
    if (epoch?.site === this.settings.site && epoch.move.startsWith(PICK_PREFIX))
      await this.claimAgain(epoch.move, signal);
    return lines;
  }

  private async follows(epoch: Epoch): Promise<void> {
    if (this.followed === epoch.number) return;
    await noteFollowed(this.database, this.customer.id, epoch);
    this.followed = epoch.number;
  }

  private async stands(signal: AbortSignal | undefined): Promise<string[]> {
    const { customer, database, settings } = this;
    const { id, peer } = customer;
    const told = await askPeerFork(customer, database, signal);
    const lines = await settleFork(database, id, told);
    const { admitted: operators } = await readOperators(database, settings.operators);
    if (told.state === 'says') await keepTold({ database, customer: id, peer, operators }, told.words);
    const result = await this.atSite((site) => actOnPick(site, customer, operators, signal));
    if (result === null) return lines;
    if (!result.done) return [...lines, ...this.once(`${id}: a line is picked, and waits: ${result.because}`)];
    const { claim, by, untold } = result;
    const told1 = `${id}: the line of ${claim.site} stands, picked by ${by.join(' and ')}: epoch ${claim.number}`;
    const line = untold === null ? told1 : `${told1}; ${peer} was not told (${untold}), and obeys what it reads`;
    await this.atSite((site) => noteInJournal(site, id, line, signal));
    return [...lines, line];
  }

  private async claimAgain(move: string, signal: AbortSignal | undefined): Promise<void> {
    const sql = 'select from tandem.claim where customer = $1 and move = $2 and not claimed and not refused';
    if ((await this.database.query(sql, [this.customer.id, move])).length === 0) return;
    await this.atSite((site) => claimPickAgain(site, this.customer.id, move, signal));
  }

  /** Rare enough that what it takes is not kept open. */
  private async atSite<T>(work: (site: OwnSite) => Promise<T>): Promise<T> {
    const site = openSite(this.settings);
    try {
      return await work(site);
    } finally {
      await site.close();
    }
  }

  private once(line: string): string[] {
    if (this.said === line) return [];
    this.said = line;
    return [line];
  }
}

const endedBy = (picked: string | null): string =>
  picked === null ? 'a newer epoch stands' : `the line of ${picked} was picked`;
