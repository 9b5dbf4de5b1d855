import { randomBytes } from 'node:crypto';
import { open, realpath, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { CustomerRecord, CustomerWord, Destroyed, Destroying } from '../../workflows/model/customer.ts';
import { checksum, readRing } from '../config/keyring.ts';
import type { Configuration, CustomerConfiguration, SecretReference } from '../config/configuration.ts';
import { pathOf } from '../config/secrets.ts';
import { Fault } from '../fault.ts';
import { surveyKeys } from '../keyring/survey.ts';
import { record, type Gathered, type Ground } from './ground.ts';

/** The end of a customer's keys at one site: whatever a lock of a vault holds, nobody reads it any more. */

/** What becomes of a key at this site. */
type End = 'overwritten and removed' | 'was not there any more' | 'no place of it was known at this site';

export interface Burial {
  ground: Ground;
  configuration: Configuration;
  customer: CustomerConfiguration;
  gathered: Gathered;
  signal: AbortSignal;
}

/** What this site has begun, by the records. */
export const begunAt = (records: readonly CustomerRecord[], site: string): Destroying | null =>
  records.find((r): r is Destroying => r.kind === 'destroying' && r.site === site) ?? null;

/**
 * Every key that the customer ever had here, as far as anything names it: its ring, what its sites recorded, and what the
 * vaults need. A key in an environment cannot be destroyed from here: refused before anything is.
 */
export async function keysToDestroy({
  configuration,
  customer,
  gathered,
  signal,
}: Burial): Promise<Record<string, string | null>> {
  const left = [...customer.keys].flatMap(([id, place]) =>
    'env' in place && process.env[place.env] ? [`${id} in ${place.env}`] : [],
  );
  if (left.length > 0)
    throw new Fault(
      `customer ${customer.id}: keys in the environment cannot be destroyed from here: ${left.join(', ')}`,
      'Destroy them where they come from, stop the worker that has them, take them out of the environment, and give this command again.',
    );
  const { keys } = await readRing(configuration, customer);
  const survey = await surveyKeys(configuration, customer, signal);
  try {
    const needed = survey.vaults.flatMap(({ uses }) => [...uses.keys()]);
    const recorded = gathered.standing.joined.flatMap((j) => Object.entries(j.keys));
    return Object.fromEntries<string | null>([
      ...needed.map((id): [string, null] => [id, null]),
      ...recorded,
      ...[...customer.keys.keys()].map((id): [string, string | null] => {
        const key = keys.get(id);
        return [id, key ? checksum(key) : (recorded.find(([known]) => known === id)?.[1] ?? null)];
      }),
    ]);
  } finally {
    survey.close();
  }
}

/** Says in the vault that this site begins; from here on there is no way back. Repeated, it answers what was said first. */
export async function beginAt(
  { ground, customer, signal }: Burial,
  word: CustomerWord,
  keys: Record<string, string | null>,
): Promise<Destroying> {
  const body = { kind: 'destroying' as const, customer: customer.id, decision: word.decision, keys, word };
  return (await record(ground, body, signal)) as Destroying;
}

/**
 * Destroys what was said, and puts the certificate into this site's vault. Safe to repeat at every point: a key that is not
 * there any more is one that was destroyed before.
 */
export async function destroyAt(burial: Burial, begun: Destroying): Promise<Destroyed> {
  const { ground, configuration, customer, gathered, signal } = burial;
  const keys: Destroyed['keys'] = [];
  for (const [id, sum] of Object.entries(begun.keys)) {
    const place = customer.keys.get(id);
    const how: End = place ? await destroyKey(configuration, place) : 'no place of it was known at this site';
    keys.push({ id, checksum: sum, how });
  }
  const decidedBy = gathered.standing.leaving?.words.map(({ operator }) => operator) ?? [];
  const { decision, word } = begun;
  const body = {
    kind: 'destroyed' as const,
    customer: customer.id,
    decision,
    keys,
    decidedBy,
    carriedOutBy: word.operator,
  };
  return (await record(ground, body, signal)) as Destroyed;
}

async function destroyKey(configuration: Configuration, place: SecretReference): Promise<End> {
  if ('env' in place) {
    if (!process.env[place.env]) return 'was not there any more';
    throw new Fault(`${place.env}: is still set`, 'Take it out of the environment, and give this command again.');
  }
  return destroyFile(pathOf(configuration, place.file));
}

/** Overwritten to the disk, then removed, its folder as well. A link is followed: what it leads to is the key, and goes first. */
export async function destroyFile(file: string): Promise<End> {
  let size: number;
  let real: string;
  try {
    real = await realpath(file);
    ({ size } = await stat(real));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'was not there any more';
    throw new Fault(
      `${file}: cannot be looked at (${(error as NodeJS.ErrnoException).code})`,
      'Nothing more was done.',
    );
  }
  try {
    const key = await open(real, 'r+');
    try {
      await key.write(randomBytes(Math.max(size, 64)), 0, Math.max(size, 64), 0);
      await key.sync();
    } finally {
      await key.close();
    }
    await rm(real);
    if (real !== file) await rm(file, { force: true });
    const folder = await open(dirname(real), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (error) {
    throw new Fault(
      `${file}: cannot be destroyed (${(error as NodeJS.ErrnoException).code})`,
      'Give this command as the owner of the file; it goes on where it was.',
    );
  }
  return 'overwritten and removed';
}
