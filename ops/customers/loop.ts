import type { Client } from '@temporalio/client';
import { noteLeaving } from '../../activities/services/leaving.ts';
import type { CustomerSettings, SiteSettings } from '../../activities/settings.ts';
import { failureText } from '../../workflows/model/failures.ts';
import { openVaults } from '../coverage.ts';
import { removeSchedules } from '../schedules.ts';
import { pause } from '../temporal.ts';
import { databaseOf, gather, record, type Ground } from './ground.ts';
import { findProtection } from './protection.ts';

const EVERY_MS = 60_000;

/**
 * Keeps this site's word on its customers: copies what the other site has recorded of them, finds out when one that joins is
 * protected, notes in this site's own database who leaves, and ends what runs for one on its day. Each change is said.
 */
export async function watchCustomers(
  client: Client,
  settings: SiteSettings,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const ground = { settings, vaults: openVaults(settings) };
  const said = new Map<string, string>();
  const tell = (key: string, text: string): void => {
    if (said.get(key) !== text) say(text);
    said.set(key, text);
  };
  try {
    while (!signal.aborted) {
      for (const customer of settings.customers.values())
        try {
          for (const line of await lookAfter(ground, client, customer, signal)) say(line);
          said.delete(customer.id);
        } catch (error) {
          tell(customer.id, `records of ${customer.id} cannot be kept: ${failureText(error)}`);
        }
      await pause(EVERY_MS, signal);
    }
  } finally {
    ground.vaults.close();
  }
}

/** One look. Answers what it changed. */
export async function lookAfter(
  ground: Ground & { settings: SiteSettings },
  client: Client | null,
  customer: CustomerSettings,
  signal: AbortSignal,
): Promise<string[]> {
  const { id, sites } = customer;
  const { settings, vaults } = ground;
  const { standing } = await gather(ground, id, { sites, known: [], signal });
  const { state, leaving } = standing;
  const lines: string[] = [];
  if (state === 'joining' && sites.every((site) => standing.joined.some((j) => j.site === site))) {
    const { lacks, proof } = await findProtection(settings, vaults, customer);
    if (lacks.length === 0 && proof) {
      await record(ground, { kind: 'protected', customer: id, ...proof }, signal);
      lines.push(`${id}: is protected from now on`);
    }
  }
  if (state === 'unrecorded') return lines;
  const database = databaseOf(customer, settings.site);
  try {
    if (await noteLeaving(database, id, leaving))
      lines.push(leaving ? `${id}: leaves on ${leaving.on}; nothing new is begun for it` : `${id}: stays after all`);
  } finally {
    await database.close();
  }
  if (client && leaving?.on && Date.parse(leaving.on) <= Date.now()) {
    const removed = await removeSchedules(client, id);
    if (removed.length > 0) lines.push(`${id}: has left; ${removed.join(', ')} removed`);
  }
  return lines;
}
