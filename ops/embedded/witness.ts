import { WITNESS } from '../config/witness.ts';
import { witnessUser, type VaultUser } from './secrets.ts';
import { allow, browse, createBucket, gatewayAnswers, look, startGateway } from './vault.ts';

/** The stack's witness: one more S3 server, part of neither site, so that it lives on when a site is killed. */

export const WITNESS_BUCKET = 'tandem-witness';

/** How the witness is reached, and as whom: its administrator, or the account of a site. */
export interface WitnessServer {
  endpoint: string;
  root: VaultUser;
  users: Record<string, VaultUser>;
}

export async function witnessServer(folder: string, port: number, sites: readonly string[]): Promise<WitnessServer> {
  const users = await Promise.all(sites.map(async (site) => [site, await witnessUser(folder, site)] as const));
  return {
    endpoint: `http://127.0.0.1:${port}`,
    root: await witnessUser(folder, 'root'),
    users: Object.fromEntries(users),
  };
}

/** Starts it, when it does not run yet, and makes its bucket. */
export async function startWitness(
  folder: string,
  { port, sites, running }: { port: number; sites: readonly string[]; running: boolean },
  command: string,
): Promise<void> {
  const server = await witnessServer(folder, port, sites);
  const { root, users } = server;
  if (!running) await startGateway(folder, { site: WITNESS, port, command, root, users: Object.values(users) });
  await gatewayAnswers(folder, WITNESS, port);
  await makeWitnessBucket(server, WITNESS_BUCKET);
}

/**
 * A bucket as a witness: every site may claim epochs, which nobody can delete, and beat under its own name only; it may
 * delete its own beats, of which the newest is all that anybody reads.
 */
export async function makeWitnessBucket({ endpoint, root, users }: WitnessServer, bucket: string): Promise<void> {
  const whole = `arn:aws:s3:::${bucket}`;
  const rights = Object.entries(users).flatMap(([site, user]) => [
    allow(user, look, `${whole}/*`),
    allow(user, browse, whole),
    allow(user, ['s3:PutObject', 's3:PutObjectRetention'], `${whole}/*/epochs/*`),
    allow(user, ['s3:PutObject'], `${whole}/tandem-probe/*`),
    allow(user, ['s3:PutObject', 's3:DeleteObjectVersion'], `${whole}/beats/${site}.json`),
  ]);
  await createBucket({ endpoint, bucket, root }, rights);
}
