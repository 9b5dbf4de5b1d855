import { readFile, rm, writeFile } from 'node:fs/promises';
import { Fault } from '../fault.ts';

/** Writes a secret for its owner alone, reads it back, and overwrites nothing. */
export async function keepSecret(file: string, secret: string | Buffer): Promise<void> {
  try {
    await writeFile(file, secret, { flag: 'wx', mode: 0o600, flush: true });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST')
      throw new Fault(`${file}: exists already`, 'Choose another name: a key is never overwritten.');
    // A part of a secret is none, and the name must be free for the next attempt; one that never was is not removed.
    if (code === 'ENOSPC' || code === 'EIO') await rm(file, { force: true });
    throw new Fault(`${file}: cannot be written (${message})`, 'Choose a folder that exists and is yours.');
  }
  if (!(await readFile(file)).equals(Buffer.from(secret)))
    throw new Fault(`${file}: does not read back as it was written`, 'Choose another disk; this one lies.');
}
