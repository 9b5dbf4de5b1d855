import { Fault } from '../fault.ts';
import { findProcesses, lives, logPath, logTail, readRecord, recordPath } from './processes.ts';

/** One that ends is seen at once: only one that stands still is waited for so long. A busy machine takes a minute for what a quiet one does in two seconds. */
const READY_LIMIT_MS = 120_000;

/**
 * Asks `answers` until it says yes. A process that has ended, or does not answer within the limit, is a fault that shows
 * the end of its log.
 */
export async function untilHealthy(
  folder: string,
  site: string,
  name: string,
  answers: () => Promise<boolean>,
): Promise<void> {
  for (const deadline = Date.now() + READY_LIMIT_MS; ; await new Promise((r) => setTimeout(r, 50))) {
    if (await answers()) return;
    const ended = !(await runs(folder, site, name));
    if (!ended && Date.now() < deadline) continue;
    const what = ended ? 'ended by itself' : `does not answer within ${READY_LIMIT_MS / 1000} s`;
    throw new Fault(
      `${site}/${name}: ${what}; the end of ${logPath(folder, site, name)}:\n${await logTail(folder, site, name)}`,
      'The log tells why; mend it, then `tandem dev up` again.',
    );
  }
}

/** By its own record; only where that names no living one all processes are looked through for it. */
async function runs(folder: string, site: string, name: string): Promise<boolean> {
  const known = await readRecord(recordPath(folder, site, name));
  if (known && (await lives(known))) return true;
  const found = (await findProcesses(folder)).find((r) => r.site === site && r.name === name);
  return found !== undefined && (await lives(found));
}
