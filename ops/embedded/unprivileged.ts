import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Servers that should not, or will not, run as root. This account exists everywhere and owns nothing. */
export const UNPRIVILEGED = { name: 'nobody', uid: 65534, gid: 65534 };

/**
 * As root, the command as an unprivileged user who can still reach a checkout below a closed folder such as /root, and
 * `data` wherever it lies.
 */
export async function unprivileged(
  command: string,
  args: string[],
  data: string,
): Promise<{ command: string; args: string[] }> {
  if (process.getuid?.() !== 0) return { command, args };
  const reach =
    (await openToAll(command)) && (await openToAll(data))
      ? []
      : ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
  return {
    command: 'setpriv',
    args: [`--reuid=${UNPRIVILEGED.name}`, `--regid=${UNPRIVILEGED.gid}`, '--clear-groups', ...reach, command, ...args],
  };
}

/** Whether any account can reach what lies there. */
export async function openToAll(path: string): Promise<boolean> {
  for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) return false;
  }
  return true;
}
