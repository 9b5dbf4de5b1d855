import { chown } from 'node:fs/promises';
import { UNPRIVILEGED } from '../embedded/unprivileged.ts';

/** Files to the account that a server runs as; only root needs to. */
export async function hand(paths: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0) return;
  for (const path of paths) await chown(path, UNPRIVILEGED.uid, UNPRIVILEGED.gid);
}
