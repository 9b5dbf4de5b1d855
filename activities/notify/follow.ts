import type { PoolClient } from 'pg';
import { failure, failureText } from '../../workflows/model/failures.ts';
import {
  externalUpdateId,
  isOpen,
  refuseExternal,
  stateAfter,
  type ExternalKey,
  type ExternalUpdate,
  type FollowedUpdate,
  type SignedExternalVerb,
} from '../../workflows/model/external.ts';
import type { OwnSite } from '../services/site.ts';
import type { Party } from '../settings.ts';
import type { ExternalUpdateActivities } from '../types.ts';
import { channelOf } from './channels.ts';
import { lockUpdate, noteSending, settle, tokenOf } from './updates.ts';

/** A party that left the configuration while it was asked; it is followed to its end, and no longer chased. */
const GONE_CHASE_MS = 24 * 3_600_000;

/** What the run of one request calls, at the site that asks. */
export function createExternalActivities(site: OwnSite, signal: () => AbortSignal): ExternalUpdateActivities {
  return {
    'read-external-update': (key) => within(site, key, async () => undefined),
    'send-external-update': ({ n, ...key }) => sendMessage(site, key, n, signal()),
    'settle-external-update': ({ word, now, ...key }) =>
      within(site, key, async (client, update) => {
        if (isOpen(update.state)) await say(site, client, update, word, now);
      }),
  };
}

/** Locks a request, ends it when a newer epoch stands, lets `work` at it, and answers how it stands then. */
async function within(
  site: OwnSite,
  { customer: id, party, epoch }: ExternalKey,
  work: (client: PoolClient, update: ExternalUpdate) => Promise<void>,
): Promise<FollowedUpdate> {
  const customer = site.customer(id);
  const key = { customer: id, party, epoch };
  return site.database(id).transaction(async (client) => {
    await endSuperseded(client, key);
    await work(client, await lockUpdate(client, key));
    const { rows } = await client.query<{ epoch: string }>(
      `select epoch from tandem.external_update
        where customer = $1 and party = $2 and epoch < $3 and state = 'superseded' order by epoch desc limit 1`,
      [id, party, epoch],
    );
    return {
      update: await lockUpdate(client, key),
      chaseMs: customer.parties.get(party)?.chaseMs ?? GONE_CHASE_MS,
      approvers: site.settings.operators.filter((o) => o.roles.some((role) => role !== 'declare')),
      overtaken: rows[0] ? externalUpdateId({ ...key, epoch: Number(rows[0].epoch) }) : null,
    };
  });
}

/** The epoch's row is held against `advance-epoch` until the transaction ends: nothing old is sent beside a newer move. */
async function endSuperseded(client: PoolClient, key: ExternalKey): Promise<void> {
  const { rows } = await client.query<{ number: string }>(
    'select number from tandem.epoch where customer = $1 for share',
    [key.customer],
  );
  const now = Number(rows[0]?.number ?? 0);
  const { state } = await lockUpdate(client, key);
  if (now <= key.epoch || !isOpen(state)) return;
  const because = `the customer has moved again, under epoch ${now}`;
  await settle(client, key, { state: 'superseded', by: 'epoch', because });
}

async function sendMessage(site: OwnSite, key: ExternalKey, n: number, signal: AbortSignal): Promise<FollowedUpdate> {
  return within(site, key, async (client, update) => {
    if (!isOpen(update.state) || update.sent >= n) return;
    const party = site.customer(key.customer).parties.get(key.party);
    const because = party
      ? await send(site, update, party, n, signal)
      : 'this party is no longer in the configuration: close the request';
    await noteSending(client, key, { n, because });
  });
}

/** Empty when it was accepted. */
async function send(
  site: OwnSite,
  update: ExternalUpdate,
  party: Party,
  n: number,
  signal: AbortSignal,
): Promise<string> {
  try {
    await channelOf(site.settings, party.channel).send(
      {
        key: `${externalUpdateId(update)}/${n}`,
        ...messageOf(site, update, party, n),
        customer: update.customer,
        move: update.move,
        severity: 'info',
      },
      signal,
    );
    return '';
  } catch (error) {
    if (signal.aborted) throw error;
    return failureText(error);
  }
}

function messageOf(
  site: OwnSite,
  update: ExternalUpdate,
  { subject, change }: Party,
  n: number,
): { subject: string; text: string } {
  const { domain } = site.customer(update.customer);
  const line = subject ?? `${domain}: please change your configuration`;
  const { callbacks, signingKey } = site.settings;
  const url = callbacks && `${callbacks.replace(/\/$/, '')}/external-updates/${tokenOf(signingKey, update)}`;
  return {
    subject: n === 1 ? line : `${line} (reminder ${n - 1})`,
    text: [
      `${domain} was served from site ${update.from} and is now served from site ${update.to}.`,
      '',
      change,
      '',
      ...(url === null
        ? ['Please answer to whoever sent you this.']
        : [
            'Please tell us, by POST to the address below, when you have read this and when it is done:',
            `  curl -X POST -H 'content-type: application/json' -d '{"verb":"acknowledge"}' ${url}`,
            `  curl -X POST -H 'content-type: application/json' -d '{"verb":"done"}' ${url}`,
            'Whoever has this address can answer for you.',
          ]),
      '',
      `Reference: ${externalUpdateId(update)}`,
      '',
    ].join('\n'),
  };
}

/** Nonces are looked up where they are kept: a run that was started anew has forgotten its own. */
async function say(
  site: OwnSite,
  client: PoolClient,
  update: ExternalUpdate,
  word: SignedExternalVerb | 'lapsed',
  now: number,
): Promise<void> {
  if (word === 'lapsed')
    return settle(client, update, { state: 'lapsed', by: 'clock', because: 'a year has passed without an end' });
  const { rows } = await client.query<{ nonce: string }>(
    `select h->'signed'->>'nonce' as nonce from tandem.external_update, jsonb_array_elements(history) h
      where customer = $1 and party = $2 and epoch = $3 and h ? 'signed'`,
    [update.customer, update.party, update.epoch],
  );
  const usedNonces = new Set(rows.map(({ nonce }) => nonce));
  const approvers = [...site.settings.operators];
  const why = refuseExternal({ update, approvers }, word, { usedNonces, now });
  // The same word again, after an answer that got lost: it stands already.
  if (usedNonces.has(word.nonce)) return;
  if (why !== null) throw failure('verb-refused', `${update.customer}: ${why}`);
  const { operator, because = '' } = word;
  return settle(client, update, { state: stateAfter[word.verb], by: operator, because, signed: word });
}
