import type { KeyObject } from 'node:crypto';
import { listIds, type Shelf } from '../../activities/vault/catalog.ts';
import type { Manifest } from '../../activities/vault/manifest.ts';
import { readManifest } from '../../activities/vault/open.ts';
import type { PackRef } from '../../activities/vault/pack-reader.ts';
import type { Vault } from '../../activities/vault/port.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import type { VaultAccess } from '../../activities/settings.ts';
import { failure, failureKind, failureText } from '../../workflows/model/failures.ts';
import type { SnapshotId, Timestamp } from '../../workflows/model/snapshots.ts';
import type { Configuration, CustomerConfiguration, SiteConfiguration } from '../config/configuration.ts';
import { publicKeysOf, vaultAccess } from '../config/settings.ts';
import { Fault } from '../fault.ts';

/** What the snapshots of one vault need of a key. */
export interface KeyUse {
  snapshots: SnapshotId[];
  /** The newest recovery point under it. */
  newest: Timestamp;
  /**
   * What `verify` opens, by the site that wrote it: packs of the newest snapshots, newest first. Of each site, because
   * two sites may have different keys under one id, and each opens its own packs.
   */
  samples: Map<string, { manifest: Manifest; ref: PackRef }[]>;
}

/** What one vault says of a customer's keys, by its manifests: no pack is read. */
export interface VaultUse {
  site: string;
  /** Null when the vault cannot be read: what it needs is then unknown. */
  vault: Vault | null;
  because: string | null;
  uses: ReadonlyMap<string, KeyUse>;
  /** Manifests that cannot be trusted or read: which keys they would need is unknown. */
  faults: string[];
}

/** Requests at once to one vault: a manifest is small, and its way there is what takes the time. */
const AT_ONCE = 8;
/** As long as two attempts to connect take. */
const ANSWER_MS = 5000;
/** Enough to step around a damaged pack; more would say nothing more about a key. */
const SAMPLES = 4;

/** Both vaults of a customer, side by side. One that does not answer says so, and hides nothing of the other. */
export async function surveyKeys(
  configuration: Configuration,
  customer: CustomerConfiguration,
  signal: AbortSignal,
): Promise<{ vaults: VaultUse[]; close: () => void }> {
  const publicKeys = publicKeysOf(configuration);
  const opened: Vault[] = [];
  const close = (): void => opened.forEach((vault) => vault.close());
  try {
    const vaults = await Promise.all(
      customer.sites.map(async (name): Promise<VaultUse> => {
        const silent = { site: name, vault: null, uses: new Map<string, KeyUse>(), faults: [] };
        try {
          const site = configuration.sites.get(name);
          if (!site) return { ...silent, because: 'the configuration does not name this site' };
          const vault = new S3Vault(await readAccess(configuration, site));
          opened.push(vault);
          await firstAnswer(vault, customer, signal);
          return await vaultUse(vault, customer, publicKeys, signal);
        } catch (error) {
          const kind = failureKind(error);
          if (!(error instanceof Fault) && kind !== 'vault-unreachable' && kind !== 'vault-refused') throw error;
          return { ...silent, because: failureText(error) };
        }
      }),
    );
    return { vaults, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** A vault that hangs would hold each request to its own limit, three times over: it has one chance to say anything. */
async function firstAnswer(vault: Vault, customer: CustomerConfiguration, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.timeout(ANSWER_MS);
  try {
    const keys = vault.list(`${customer.id}/`, { signal: AbortSignal.any([signal, limit]) });
    await keys[Symbol.asyncIterator]().next();
  } catch (error) {
    if (!limit.aborted || signal.aborted) throw error;
    throw failure('vault-unreachable', `vault ${vault.site}: no answer in ${ANSWER_MS / 1000} s`);
  }
}

/** Reading is all that is needed: the reader's account, which each site has of its peer; at home the writer's will do. */
async function readAccess(configuration: Configuration, site: SiteConfiguration): Promise<VaultAccess> {
  try {
    return await vaultAccess(configuration, site, site.vault.reader);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const own = await vaultAccess(configuration, site, site.vault.writer).catch(() => null);
    if (own) return own;
    throw error; // About the account that ought to be here.
  }
}

async function vaultUse(
  vault: Vault,
  customer: CustomerConfiguration,
  publicKeys: ReadonlyMap<string, KeyObject>,
  signal: AbortSignal,
): Promise<VaultUse> {
  const uses = new Map<string, KeyUse>();
  const faults: string[] = [];
  const shelves: Shelf[] = customer.sites.map((site) => ({ vault, customer: customer.id, site, publicKeys, signal }));
  for (const shelf of shelves) {
    const ids = await listIds(shelf); // Newest first.
    for (let at = 0; at < ids.length; at += AT_ONCE) {
      const read = await Promise.all(ids.slice(at, at + AT_ONCE).map((id) => trusted(shelf, id)));
      for (const found of read) {
        if (typeof found === 'string') faults.push(found);
        else note(uses, found);
      }
    }
  }
  return { site: vault.site, vault, because: null, uses, faults };
}

/** A manifest that its site has signed; else why there is none, for people. */
async function trusted(shelf: Shelf, id: SnapshotId): Promise<Manifest | string> {
  try {
    const found = await readManifest({ ...shelf, id });
    return found?.manifest ?? `snapshot ${id.seq} of ${id.site}: its manifest is not there any more`;
  } catch (error) {
    const kind = failureKind(error);
    if (kind === 'signature-invalid' || kind === 'snapshot-damaged' || kind === 'snapshot-format')
      return failureText(error);
    throw error;
  }
}

function note(uses: Map<string, KeyUse>, manifest: Manifest): void {
  const { customer, site, gen, seq, point } = manifest;
  for (const keyId of new Set(manifest.packs.map((p) => p.keyId))) {
    const use: KeyUse = uses.get(keyId) ?? { snapshots: [], newest: point, samples: new Map() };
    const samples = manifest.packs.filter((p) => p.keyId === keyId).map((ref) => ({ manifest, ref }));
    use.snapshots.push({ customer, site, gen, seq });
    // Manifests come newest first, and so do the packs of each.
    use.samples.set(site, [...(use.samples.get(site) ?? []), ...samples].slice(0, SAMPLES));
    if (point > use.newest) use.newest = point;
    uses.set(keyId, use);
  }
}
