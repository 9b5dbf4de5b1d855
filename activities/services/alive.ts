import { whyWasDown, type Absence, type Closing } from '../../workflows/model/closing.ts';
import { mayOpen, type PeerRights } from '../../workflows/model/opening.ts';
import type { Database } from '../contacts/database.ts';
import type { CustomerSettings, SiteSettings } from '../settings.ts';
import { close, lockRights, readClosing } from './closed.ts';
import { askService } from './management.ts';
import { askPeerRights } from './peer-rights.ts';

/** Of the service, when the worker was away. */
const ASK_LIMIT_MS = 2000;

type Query = Parameters<typeof readClosing>[0];

/** Who can vouch for a site that may have been down. Asked only when somebody must. */
interface Vouchers {
  peer: PeerRights;
  serviceRan: boolean;
}

/**
 * Says that this site lives, by the clock of its own database, after it was decided whether it was down: then it is closed,
 * in one transaction. A worker that alone was away closes nobody whom the peer still leaves to this site, or whose service
 * has been there all the while. Safe to repeat. `ranMs`: since this process last did it, null when it never has. Answers the
 * closing when it has closed; rejects when the database cannot be written.
 */
export async function sayAlive(
  settings: SiteSettings,
  customer: CustomerSettings,
  database: Database,
  { ranMs = null, signal }: { ranMs?: number | null; signal?: AbortSignal } = {},
): Promise<Closing | null> {
  const { id } = customer;
  const signed = await database.transaction(async (client) => {
    const known = { signAgeMs: await signAge(client, id), ranMs, confirmed: false, serviceRan: false };
    // Rows that nothing is decided by are not locked: a move may hold them for minutes.
    if (whyWasDown({ ...known, serves: true }) !== null) return false;
    await sign(client, id);
    return true;
  });
  if (signed) return null;
  const [peer, serviceRan] = await Promise.all([
    askPeerRights(customer, database, signal),
    ranThrough(settings, customer, signal),
  ]);
  return decide(database, id, ranMs, { peer, serviceRan });
}

async function decide(
  database: Database,
  customer: string,
  ranMs: number | null,
  { peer, serviceRan }: Vouchers,
): Promise<Closing | null> {
  return database.transaction(async (client) => {
    const own = await lockRights(client, customer);
    const standing = await readClosing(client, customer);
    const absence: Absence = {
      signAgeMs: await signAge(client, customer),
      ranMs,
      serves: own.halves.length > 0,
      confirmed: mayOpen('was-down', own, peer).open,
      serviceRan,
    };
    const because = standing ? null : whyWasDown(absence);
    const closing = because === null ? null : await close(client, customer, { kind: 'was-down', because });
    await sign(client, customer);
    return closing;
  });
}

/** Ms since the last sign, the row being locked; negative when it is of a time to come, null when there is none. */
async function signAge(client: Query, customer: string): Promise<number | null> {
  const { rows } = await client.query<{ age: number }>(
    `select (extract(epoch from clock_timestamp() - at) * 1000)::float8 as age
       from tandem.alive where customer = $1 for update`,
    [customer],
  );
  return rows[0]?.age ?? null;
}

async function sign(client: Query, customer: string): Promise<void> {
  await client.query(
    `insert into tandem.alive (customer, at) values ($1, clock_timestamp())
     on conflict (customer) do update set at = excluded.at`,
    [customer],
  );
}

/** False also of a service that does not answer, or that is not asked. */
async function ranThrough(
  { services, site }: SiteSettings,
  { domain }: CustomerSettings,
  signal?: AbortSignal,
): Promise<boolean> {
  const management = services.get(site)?.management;
  if (!management) return false;
  const limit = { limitMs: ASK_LIMIT_MS, signal };
  const answer = await askService(management, 'tandem_ran_through', { host: domain }, limit).catch(() => null);
  signal?.throwIfAborted();
  return answer === 0;
}
