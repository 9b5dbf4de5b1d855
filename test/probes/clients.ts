import { readdirSync, readFileSync } from 'node:fs';

/** Processes of probes that live below a process. */
export const clientsOf = (parent: number): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      const [, of] = /\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? [];
      return Number(of) === parent && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('probes/services/main.ts');
    } catch {
      return false; // No process, or gone while it was looked at.
    }
  });
