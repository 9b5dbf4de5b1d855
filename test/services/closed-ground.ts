import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { afterEach, beforeEach } from 'vitest';
import { close, closingOf, openWhenConfirmed } from '../../activities/services/closed.ts';
import { askPeerRights } from '../../activities/services/peer-rights.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { openByWord, readStanding, siteWordText, type SiteWord } from '../../activities/services/site-words.ts';
import type { CustomerSettings } from '../../activities/settings.ts';
import { rawHex } from '../../ops/keys.ts';
import type { Closing, ClosingKind } from '../../workflows/model/closing.ts';
import type { PeerRights } from '../../workflows/model/opening.ts';
import type { Approver } from '../../workflows/model/plan.ts';
import { CUSTOMER, eastAt, makeWorld, type World } from '../failover-acts/world.ts';

/** West is closed, or is about to be; east is its peer. Both have databases of their own, new ones for each test. */
export let world: World;
export function worldForEach(): void {
  beforeEach(async () => {
    world = await makeWorld();
  });
  afterEach(() => world.close());
}

/** Nobody listens there. */
const DARK = '127.0.0.1:9';
export const silent: PeerRights = { state: 'silent', because: 'a test' };

export function customerOf({ settings }: OwnSite): CustomerSettings {
  const customer = settings.customers.get(CUSTOMER);
  if (!customer) throw new Error('unreachable');
  return customer;
}

/** West as it stands when east is gone. */
export function dark(
  change: Partial<CustomerSettings> = {},
  more: Parameters<World['westWith']>[0]['site'] = {},
): OwnSite {
  const { customer, site } = eastAt(world, DARK);
  return world.westWith({ customer: { ...customer, ...change }, site: { ...site, ...more } });
}

export const closeWest = (kind: ClosingKind): Promise<Closing> =>
  world.westDb.transaction((client) => close(client, CUSTOMER, { kind, because: 'a test' }));
export const closedAs = async (): Promise<string | null> => (await closingOf(world.westDb, CUSTOMER))?.kind ?? null;

/** How many users west serves. */
export async function serves(): Promise<number> {
  const sql = 'select count(*)::int as n from tandem.home where tandem.may_serve(username)';
  return (await world.westDb.query<{ n: number }>(sql))[0]?.n ?? NaN;
}

export const heard = (): Promise<PeerRights> => askPeerRights(world.customer, world.westDb);

/** As if the peer had been heard to confirm it so much earlier. */
export const confirmedFor = (seconds: number): Promise<unknown> =>
  world.westDb.query(`update tandem.closed set confirmed_at = confirmed_at - interval '${seconds} s'`);

/** Has west open by what its peer says now, and still says when its service can no longer go by anything else. */
export async function confirm(): Promise<string> {
  const hear = async () => openWhenConfirmed(world.westDb, CUSTOMER, await heard());
  const first = await hear();
  await confirmedFor(7);
  const opening = first?.because.startsWith('its peer has confirmed it') ? await hear() : first;
  return opening ? `${opening.open}: ${opening.because}` : 'is open';
}

export const keys = {
  al: generateKeyPairSync('ed25519'),
  bo: generateKeyPairSync('ed25519'),
  cy: generateKeyPairSync('ed25519'),
};
const person = (id: string, of: keyof typeof keys, roles: Approver['roles']): Approver => ({
  id,
  key: rawHex(keys[of].publicKey),
  roles,
});
export const people: Approver[] = [
  person('al', 'al', ['commander', 'approve']),
  person('bo', 'bo', ['approve']),
  person('cy', 'cy', ['operate']),
  person('al-too', 'al', ['approve']),
  person('bo-too', 'bo', ['commander']),
];
let count = 0;
/** A word of west's operators to open it as it stands, or as is given. */
export const word = async (
  operator: keyof typeof keys | 'al-too' | 'bo-too',
  change: Partial<SiteWord> = {},
  key: KeyObject = keys[operator.slice(0, 2) as keyof typeof keys].privateKey,
): Promise<SiteWord> => {
  const { own, closing } = await readStanding(world.westDb, CUSTOMER);
  count += 1;
  const draft = {
    verb: 'open' as const,
    customer: CUSTOMER,
    site: 'west',
    closing: closing?.id ?? '00000000-0000-4000-8000-000000000001',
    epoch: own.epoch.number,
    operator,
    because: 'east has burnt down',
    nonce: count.toString(16).padStart(32, '0'),
    expires: new Date(Date.now() + 3_000_000).toISOString(),
    ...change,
  };
  return { ...draft, signature: sign(null, Buffer.from(siteWordText(draft)), key).toString('hex') };
};
/** Gives it; what became of it. */
export const say = (w: SiteWord, peer: PeerRights = silent): Promise<string> =>
  openByWord({ database: world.westDb, customer: CUSTOMER, operators: people }, w, peer).then(
    ({ opened, by }) => `${opened ? 'opened' : 'closed'} by ${by.join(', ')}`,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
