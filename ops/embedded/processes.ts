import { spawn } from 'node:child_process';
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Fault } from '../fault.ts';

/**
 * Processes that outlive the command that started them. There is no supervisor to lose: each process is known by its id,
 * its start time and the boot it belongs to, so that an id which the kernel has given to somebody else is never mistaken
 * for ours; and each carries its name in its environment, so that one which was started but not yet written down when
 * the command died is found all the same. Linux only: all of this is read from /proc.
 */

export interface ProcessRecord {
  site: string;
  name: string;
  pid: number;
  /** Field 22 of /proc/<pid>/stat, in clock ticks since boot. */
  startTicks: string;
  bootId: string;
}

export interface ProcessSpec {
  site: string;
  name: string;
  command: string;
  args: string[];
  env?: Record<string, string>;
  cwd?: string;
}

export const recordPath = (folder: string, site: string, name: string): string =>
  join(folder, 'processes', `${site}-${name}.json`);
export const logPath = (folder: string, site: string, name: string): string =>
  join(folder, 'logs', site, `${name}.log`);

async function bootId(): Promise<string> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  } catch {
    throw new Fault(
      'embedded stack: this system has no /proc, and needs one to tell its processes from others',
      'Run the embedded stack on Linux.',
    );
  }
}

interface Stat {
  state: string;
  parent: number;
  startTicks: string;
}

/** Null when no such process lives; a zombie has ended. */
async function stat(pid: number): Promise<Stat | null> {
  let text: string;
  try {
    text = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state = 'Z', parent = '0'] = fields;
  return state === 'Z' || state === 'X' ? null : { state, parent: Number(parent), startTicks: fields[19] ?? '' };
}

/** Starts a process of its own session with its output in its log, and writes it down. */
export async function startProcess(folder: string, spec: ProcessSpec): Promise<ProcessRecord> {
  const path = logPath(folder, spec.site, spec.name);
  await mkdir(dirname(path), { recursive: true });
  await mkdir(join(folder, 'processes'), { recursive: true });
  const log = await open(path, 'a');
  try {
    const child = spawn(spec.command, spec.args, {
      cwd: spec.cwd ?? folder,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      env: { ...baseEnvironment(), ...spec.env, TANDEM_STACK: folder, TANDEM_PROCESS: `${spec.site}/${spec.name}` },
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    const pid = child.pid ?? 0;
    const record = {
      site: spec.site,
      name: spec.name,
      pid,
      startTicks: (await stat(pid))?.startTicks ?? '',
      bootId: await bootId(),
    };
    const draft = `${recordPath(folder, spec.site, spec.name)}.new`;
    await writeFile(draft, JSON.stringify(record));
    await rename(draft, recordPath(folder, spec.site, spec.name));
    return record;
  } finally {
    await log.close();
  }
}

/** What a server needs to run, and none of the secrets of whoever started it. */
function baseEnvironment(): Record<string, string> {
  const kept = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR', 'NODE_COMPILE_CACHE', 'NODE_EXTRA_CA_CERTS'];
  return Object.fromEntries(
    kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

/** Whether the recorded process still lives, and is the one that was recorded. */
export async function lives(record: ProcessRecord): Promise<boolean> {
  const now = await stat(record.pid);
  return now !== null && now.startTicks === record.startTicks && (await bootId()) === record.bootId;
}

/** Null when nobody was written down there, or is not any more. */
export async function readRecord(path: string): Promise<ProcessRecord | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as ProcessRecord;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** All records of a stack, and processes of it that were never written down. */
export async function findProcesses(folder: string): Promise<ProcessRecord[]> {
  const records: ProcessRecord[] = [];
  for (const file of await filesIn(join(folder, 'processes'))) {
    const record = file.endsWith('.json') ? await readRecord(join(folder, 'processes', file)) : null;
    if (record) records.push(record);
  }
  const known = new Set(records.map((r) => r.pid));
  const strays = (await marked(folder)).filter((r) => !known.has(r.pid));
  // A server's own children carry its mark too; the oldest of a name is the server.
  for (const stray of strays) {
    const index = records.findIndex((r) => r.site === stray.site && r.name === stray.name);
    const found = records[index];
    if (!found) records.push(stray);
    else if (!(await lives(found))) records[index] = stray;
  }
  return records;
}

async function filesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).toSorted();
  } catch {
    return []; // Nothing was ever started here.
  }
}

/** Every living process that carries the mark of this stack, children included, oldest first. */
async function marked(folder: string): Promise<ProcessRecord[]> {
  const found: ProcessRecord[] = [];
  const boot = await bootId();
  for (const entry of await filesIn('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const environment = await readFile(`/proc/${entry}/environ`, 'utf8').catch(() => ''); // Gone, or somebody else's.
    const variables = environment.split('\0');
    if (!variables.includes(`TANDEM_STACK=${folder}`)) continue;
    const [site, name] =
      variables
        .find((v) => v.startsWith('TANDEM_PROCESS='))
        ?.slice('TANDEM_PROCESS='.length)
        .split('/') ?? [];
    const now = await stat(Number(entry));
    if (now && site && name) found.push({ site, name, pid: Number(entry), startTicks: now.startTicks, bootId: boot });
  }
  return found.toSorted((a, b) => Number(a.startTicks) - Number(b.startTicks) || a.pid - b.pid);
}

/** Sends a signal to a recorded process, unless its id now belongs to another. */
export async function signalProcess(record: ProcessRecord, signal: NodeJS.Signals): Promise<void> {
  if (!(await lives(record))) return;
  try {
    process.kill(record.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // It ended meanwhile: what was wanted.
  }
}

/** Asks a process to end, ends it after `graceMs`, and forgets it. */
export async function stopProcess(
  folder: string,
  record: ProcessRecord,
  signal: NodeJS.Signals,
  graceMs: number,
): Promise<void> {
  await signalProcess(record, signal);
  if (!(await endedWithin(record, graceMs))) await signalProcess(record, 'SIGKILL');
  if (!(await endedWithin(record, 5000))) {
    throw new Fault(
      `${record.site}/${record.name}: process ${record.pid} does not end, not even by SIGKILL`,
      'It may wait for a disk that does not answer: look at `dmesg`.',
    );
  }
  await rm(recordPath(folder, record.site, record.name), { force: true });
}

async function endedWithin(record: ProcessRecord, ms: number): Promise<boolean> {
  for (const deadline = Date.now() + ms; Date.now() < deadline; await new Promise((r) => setTimeout(r, 20))) {
    if (!(await lives(record))) return true;
  }
  return !(await lives(record));
}

/** Ends with SIGKILL everything of one site that carries the stack's mark, the servers' children included. */
export async function killMarked(folder: string, site: string): Promise<void> {
  const known = [...(await findProcesses(folder)), ...(await marked(folder))].filter((r) => r.site === site);
  const records = [...known, ...(await descendants(known))];
  for (const record of records) await signalProcess(record, 'SIGKILL');
  for (const record of records) {
    if (!(await endedWithin(record, 10_000)))
      throw new Fault(`${record.site}/${record.name}: process ${record.pid} survived SIGKILL`, 'Look at `dmesg`.');
    await rm(recordPath(folder, record.site, record.name), { force: true });
  }
}

/** The living children, grandchildren … of processes: PostgreSQL's overwrite their environment with a title. */
async function descendants(of: ProcessRecord[]): Promise<ProcessRecord[]> {
  const boot = await bootId();
  const ids = (await filesIn('/proc')).filter((entry) => /^\d+$/.test(entry)).map(Number);
  const all = await Promise.all(ids.map(async (pid) => ({ pid, now: await stat(pid) })));
  const families = new Map(of.map((r) => [r.pid, r]));
  for (let grown = true; grown;) {
    grown = false;
    for (const { pid, now } of all) {
      const parent = now && families.get(now.parent);
      if (!parent || families.has(pid)) continue;
      families.set(pid, { site: parent.site, name: parent.name, pid, startTicks: now.startTicks, bootId: boot });
      grown = true;
    }
  }
  return [...families.values()].filter((r) => !of.some((o) => o.pid === r.pid));
}

/** The last lines of a process's log: what it said before it failed. */
export async function logTail(folder: string, site: string, name: string, lines = 8): Promise<string> {
  const text = await readFile(logPath(folder, site, name), 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}
