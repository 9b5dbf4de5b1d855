import { failure } from '../../workflows/model/failures.ts';
import type { ProxyBackend, ProxySettings } from '../settings.ts';
import type { TrafficSwitch } from './port.ts';
import { ask } from './stream.ts';

/** Of one command; they take milliseconds. */
const COMMAND_MS = 3000;
const MOST_BYTES = 1024 * 1024;

/**
 * Bits of `srv_admin_state` (HAProxy's management guide): MAINT, however it came to be, and DRAIN. That a server was in
 * maintenance when HAProxy started (0x04) stays to be seen when it no longer is.
 */
const FORCED_MAINT = 0x01;
const NOT_READY = 0x01 | 0x02 | 0x20 | 0x40 | 0x08 | 0x10;
/** `srv_op_state`: stopped. What starts, runs or comes to its end takes or keeps sessions. */
const STOPPED = 0;

interface ServerState {
  backend: string;
  server: string;
  operational: number;
  admin: number;
}

/** One server of one backend, and whether users are to be led to it. */
interface Wanted {
  backend: string;
  server: string;
  leads: boolean;
}

interface Setting {
  proxy: ProxySettings;
  backends: readonly ProxyBackend[];
}

/**
 * Adapter: HAProxy by its runtime socket. It knows no epoch: whoever calls holds the lock on it. Servers of the sites that
 * serve are made ready first, so that nobody is without one meanwhile; then those of the others go into maintenance, and the
 * sessions that still lead there are ended.
 */
export function haproxySwitch({ proxy, backends }: Setting): TrafficSwitch {
  const { socket } = proxy;
  return {
    async shift({ to, epoch }, signal) {
      const wanted = wantedOf(backends, to);
      const before = await read(socket, wanted, signal);
      const wrong = wanted.filter((w) => !obeys(w, before));
      for (const { backend, server } of wrong.filter((w) => w.leads))
        await command(socket, `set server ${backend}/${server} state ready`, signal);
      for (const { backend, server } of wrong.filter((w) => !w.leads))
        await command(socket, `set server ${backend}/${server} state maint`, signal);
      // Also where nothing was to be changed: an earlier attempt may have ended between the two.
      for (const { backend, server } of wanted.filter((w) => !w.leads))
        await command(socket, `shutdown sessions server ${backend}/${server}`, signal);
      const after = await read(socket, wanted, signal);
      const still = wanted.filter((w) => !obeys(w, after));
      if (still.length > 0)
        throw failure('traffic-differs', `${socket}: ${names(still)} not as they were told to be, a moment ago`);
      const down = wanted.filter((w) => w.leads && stateOf(w, after).operational === STOPPED);
      return {
        summary: `HAProxy leads users to ${to.join(' and ')} in ${backends.length === 1 ? '1 backend' : `${backends.length} backends`}`,
        facts: { backends: backends.length, changed: wrong.length, down: down.length, epoch: epoch.number },
        ...(down.length > 0 && {
          alarms: [
            `${socket}: ${names(down)} ready, and down by HAProxy’s own health check: nobody gets through there`,
          ],
        }),
      };
    },

    async look({ to }, signal) {
      const wanted = wantedOf(backends, to);
      const states = await read(socket, wanted, signal);
      const wrong = wanted.filter((w) => !obeys(w, states));
      const told = wrong.length === 0 ? 'all servers are as they should be' : `${names(wrong)} differ`;
      return { seen: wrong.length === 0, summary: `HAProxy: ${told}` };
    },

    async prove(signal) {
      await read(socket, wantedOf(backends, []), signal);
      await mayChange(socket, signal);
      return `${socket} knows all servers of ${backends.length === 1 ? '1 backend' : `${backends.length} backends`}`;
    },
  };
}

const wantedOf = (backends: readonly ProxyBackend[], sites: readonly string[]): Wanted[] =>
  backends.flatMap(({ backend, servers }) =>
    [...servers].map(([site, server]) => ({ backend, server, leads: sites.includes(site) })),
  );

const names = (wanted: readonly Wanted[]): string => wanted.map((w) => `${w.backend}/${w.server}`).join(', ');

function stateOf({ backend, server }: Wanted, states: readonly ServerState[]): ServerState {
  const found = states.find((s) => s.backend === backend && s.server === server);
  if (!found) throw new Error('unreachable: looked for before');
  return found;
}

function obeys(wanted: Wanted, states: readonly ServerState[]): boolean {
  const { admin } = stateOf(wanted, states);
  return wanted.leads ? (admin & NOT_READY) === 0 : (admin & FORCED_MAINT) !== 0;
}

/** Throws when a server that the configuration names is not there: nothing is changed then. */
async function read(socket: string, wanted: readonly Wanted[], signal: AbortSignal): Promise<ServerState[]> {
  const states = parseStates(await say(socket, 'show servers state', signal));
  const missing = wanted.filter((w) => !states.some((s) => s.backend === w.backend && s.server === w.server));
  if (missing.length > 0) throw failure('proxy-refused', `${socket}: HAProxy has no ${names(missing)}`);
  return states;
}

/** By the names in its heading: versions of HAProxy add columns. */
function parseStates(text: string): ServerState[] {
  const lines = text.split('\n');
  const heading =
    lines
      .find((line) => line.startsWith('# '))
      ?.slice(2)
      .split(' ') ?? [];
  const columns = ['be_name', 'srv_name', 'srv_op_state', 'srv_admin_state'].map((name) => heading.indexOf(name));
  if (columns.includes(-1)) throw failure('proxy-refused', `HAProxy: ${shown(text)} instead of the servers’ state`);
  return lines.flatMap((line) => {
    const cells = line.split(' ');
    if (line.startsWith('#') || cells.length < heading.length) return [];
    const [backend = '', server = '', operational, admin] = columns.map((i) => cells[i] ?? '');
    return [{ backend, server, operational: Number(operational), admin: Number(admin) }];
  });
}

/** A command that changes something answers nothing; whatever it answers is why it did not. */
async function command(socket: string, text: string, signal: AbortSignal): Promise<void> {
  const answer = (await say(socket, text, signal)).trim();
  if (answer !== '') throw failure('proxy-refused', `${socket}: HAProxy answers ${shown(answer)} to \`${text}\``);
}

/** Without changing anything: a socket that may only look refuses the word before it reads what it is about. */
async function mayChange(socket: string, signal: AbortSignal): Promise<void> {
  const answer = await say(socket, 'shutdown sessions server -/-', signal);
  if (/permission denied/i.test(answer)) throw failure('proxy-refused', `${socket}: HAProxy answers ${shown(answer)}`);
}

const shown = (text: string): string => JSON.stringify(text.trim().replaceAll(/\s+/g, ' ').slice(0, 120));

async function say(socket: string, text: string, signal: AbortSignal): Promise<string> {
  try {
    const asking = { limitMs: COMMAND_MS, mostBytes: MOST_BYTES, whole: null, signal };
    return (await ask(socket, `${text}\n`, asking)).toString('utf8');
  } catch (error) {
    signal.throwIfAborted();
    throw failure('proxy-unreachable', `${socket}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
