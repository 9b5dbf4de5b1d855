import { createHash, randomBytes } from 'node:crypto';
import { access, link, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { failure } from '../../workflows/model/failures.ts';
import { reasonOf, sending } from './limit.ts';
import type { Channel, Message, OutboxSettings } from './port.ts';

/**
 * Leaves each message as a JSON file in `new` of a folder, for an agent on this machine that hands it on and moves it to
 * `cur`, as a Maildir has it. The name comes from the key: a message that lies in either is not left a second time. It
 * is there whole or not at all, and on disk before it counts as accepted.
 */
export function outbox(name: string, { folder }: OutboxSettings): Channel {
  return { name, send: (message, signal) => sending(name, message, signal, () => leave(name, folder, message)) };
}

async function leave(name: string, folder: string, message: Message): Promise<void> {
  const file = `${createHash('sha256').update(message.key).digest('hex').slice(0, 32)}.json`;
  const draft = join(folder, 'tmp', `${file}.${randomBytes(6).toString('hex')}`);
  try {
    for (const part of ['tmp', 'new', 'cur']) await mkdir(join(folder, part), { recursive: true, mode: 0o700 });
    if (await exists(join(folder, 'cur', file))) return;
    const handle = await open(draft, 'wx', 0o600);
    try {
      await handle.writeFile(`${JSON.stringify(message, null, 2)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await link(draft, join(folder, 'new', file)).catch(unlessThere);
    await rm(draft);
  } catch (error) {
    throw failure('channel-unreachable', `channel ${name}: ${reasonOf(error)}`);
  }
}

function unlessThere(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
