import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { MOVER_HEAP, moverEnvironment } from '../../activities/mover/process.ts';
import type { VaultAccess } from '../../activities/settings.ts';
import type { SnapshotId } from '../../workflows/model/snapshots.ts';
import { withClient } from './data.ts';
import { run } from './run.ts';

/** What the figures need of our own side. Whatever moves the data behind it answers for its own memory and bytes. */
export interface Engine {
  /**
   * Takes the next snapshot of everybody served in a database into a vault: read back, uploaded, committed. `changes`
   * reads only the users who changed since the last.
   */
  snapshot(url: string, vault: VaultAccess, read?: 'all' | 'changes'): Promise<Taken>;
  /**
   * Brings a database to the state of a snapshot. `empty`: no table is there, all are made, indexes too. `live`: a site's
   * own tables with their indexes; what differs is found first and then replaced.
   */
  restore(url: string, vault: VaultAccess, id: SnapshotId, into: 'empty' | 'live'): Promise<Restored>;
  /** Makes a database forget its snapshots, so that the next one into an empty vault is a first one. */
  forget(url: string): Promise<void>;
}

/** What every piece of work answers. The start of the process is in `ms`: a site starts one for each run, too. */
export interface Moved {
  ms: number;
  /** Peak resident memory of the process that moved the data. */
  peakBytes: number;
  /** What went to and came from the vault as bodies of objects. */
  bytesPut: number;
  bytesRead: number;
}

export interface Taken extends Moved {
  id: SnapshotId;
  users: number;
}

export interface Restored extends Moved {
  users: number;
  /** Users who differed and were written. */
  written: number;
}

/** What the child process is told, on its standard input: never in arguments, which all the machine can read. */
export interface Job {
  work: { kind: 'snapshot'; read: 'all' | 'changes' } | { kind: 'restore'; id: SnapshotId; into: 'empty' | 'live' };
  url: string;
  vault: VaultAccess;
  /** PKCS8 PEM. */
  signingKey: string;
  customerKey: string;
}

const mover = fileURLToPath(new URL('mover.ts', import.meta.url));

/** Runs each piece of work in a process of its own, as a site does, so that its memory is its own too. */
export function createEngine(signal: AbortSignal): Engine {
  const signingKey = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  const customerKey = randomBytes(32).toString('base64');
  const move = async <T extends Moved>(url: string, vault: VaultAccess, work: Job['work']): Promise<T> => {
    const job: Job = { work, url, vault, signingKey, customerKey };
    const started = performance.now();
    const { output } = await run(process.execPath, [...MOVER_HEAP, mover], {
      env: moverEnvironment(),
      input: JSON.stringify(job),
      signal,
    });
    return { ...(JSON.parse(output) as T), ms: performance.now() - started };
  };
  return {
    snapshot: (url, vault, read = 'all') => move<Taken>(url, vault, { kind: 'snapshot', read }),
    restore: (url, vault, id, into) => move<Restored>(url, vault, { kind: 'restore', id, into }),
    async forget(url) {
      await withClient(url, (client) => client.query('truncate tandem.high_water, tandem.ledger, tandem.taken'));
    },
  };
}
