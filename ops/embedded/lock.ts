import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '../fault.ts';

const WAIT_MS = 60_000;

/** One command at a time changes a stack. The lock names its holder, so that one left by a killed command is taken over. */
export async function locked<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const path = join(folder, 'lock');
  const me = `${process.pid} ${await startTicks(process.pid)}`;
  for (const deadline = Date.now() + WAIT_MS; ; await new Promise((r) => setTimeout(r, 100))) {
    try {
      await writeFile(path, me, { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = await readFile(path, 'utf8').catch(() => '');
    const [pid = '0', ticks = ''] = holder.split(' ');
    if (holder !== '' && (await startTicks(Number(pid))) !== ticks) await rm(path, { force: true });
    else if (Date.now() > deadline)
      throw new Fault(
        `${folder}: another command (process ${pid}) has been changing this stack for a minute`,
        'Wait for it, or end it.',
      );
  }
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function startTicks(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
