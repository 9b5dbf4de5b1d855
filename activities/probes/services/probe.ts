import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { failure } from '../../../workflows/model/failures.ts';
import { moverEnvironment } from '../../mover/process.ts';
import { Slots } from '../../mover/slots.ts';
import { momentaryName } from './momentary.ts';
import {
  moment,
  type FromProbe,
  type ProbeAccount,
  type ProbeOrder,
  type ProbeQuestion,
  type ProbeResult,
  type Provisioner,
  type ToProbe,
} from './port.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** In MiB. */
const HEAP = ['--max-semi-space-size=4', '--max-old-space-size=128'];
/** Of the limit, for the clients to close their streams by themselves. */
const CLOSE_MS = 600;
/** The least in which a client can be started and sign in at all. */
const LEAST_MS = 2000;
/** Each account is signed in so often at the most: a server ends the oldest session of a user who has too many. */
const AT_ONCE = 4;
const places = new Slots(AT_ONCE);
/** Last words of a process that died. */
const STDERR_BYTES = 1000;

/**
 * Looks at one service of a site as its users do, by clients in a process of their own, which is gone when this answers:
 * within `limitMs` (from when there is a place among the few that run at once), and within a second after an abort, which
 * is what is thrown then. A service that does not do what it promises is an answer. Fails as `not-configured` when the
 * question lacks what this service needs, as `probe-died` when the process was ended from outside.
 *
 * Any number of probes may look with the same accounts at once. No session stays behind, killed or not.
 */
export async function probeService(question: ProbeQuestion): Promise<ProbeResult> {
  const { service, target, partner, provisioner, signal, limitMs } = question;
  const lacks = (what: string): Error => failure('not-configured', `probe of ${service}: ${what}`);
  if (limitMs < LEAST_MS) throw lacks(`a limit of ${limitMs} ms; ${LEAST_MS} ms are the least`);
  if (service === 'trusted-federation' && !partner) throw lacks('no account at a partner is configured');
  if (service === 'web-access' && target.web === null) throw lacks('no web address is configured');
  if (service === 'provisioning' && !provisioner) throw lacks('nothing that provisions accounts is configured');
  const leave = await places.take(signal);
  try {
    if (service === 'provisioning' && provisioner) return await probeProvisioning(question, provisioner);
    return await inProcess(orderOf(question, service as ProbeOrder['what']), limitMs, signal);
  } finally {
    leave();
  }
}

/** Whether this site knows an account that another one serves: `accounts` are of users of the other half. */
export async function probeKnown({
  target,
  accounts,
  limitMs,
  signal,
}: Pick<ProbeQuestion, 'target' | 'accounts' | 'limitMs' | 'signal'>): Promise<ProbeResult> {
  const leave = await places.take(signal);
  try {
    return await inProcess({ what: 'known', target, accounts, relay: false, partner: null }, limitMs, signal);
  } finally {
    leave();
  }
}

const orderOf = (
  { target, accounts, relay, partner }: ProbeQuestion,
  what: ProbeOrder['what'],
): Omit<ProbeOrder, 'endsAt'> => ({
  what,
  target,
  accounts,
  relay,
  partner: what === 'trusted-federation' ? partner : null,
});

/** A new account signs in, and no longer does when it was taken away. It is taken away in any case. */
async function probeProvisioning(question: ProbeQuestion, provisioner: Provisioner): Promise<ProbeResult> {
  const { limitMs, signal } = question;
  const began = performance.now();
  const left = (): number => Math.max(1, Math.floor(limitMs - (performance.now() - began)));
  const account = {
    user: momentaryName(Date.now()),
    password: randomBytes(18).toString('base64url'),
  };
  const accounts = { ...question.accounts, first: account };
  const target = { ...question.target, clients: provisioner.clients ?? question.target.clients };
  const look = (what: ProbeOrder['what']): Promise<ProbeResult> =>
    inProcess({ ...orderOf(question, what), accounts, target }, Math.max(left(), LEAST_MS / 2), signal);
  const told = async (what: string, work: (limit: AbortSignal) => Promise<void>): Promise<ProbeResult | null> => {
    try {
      await work(AbortSignal.any([signal, AbortSignal.timeout(left())]));
      return null;
    } catch (error) {
      signal.throwIfAborted();
      const ms = Math.round(performance.now() - began);
      return {
        ok: false,
        ms,
        because: `expected ${what}; saw ${error instanceof Error ? error.message : String(error)}`,
        facts: {},
      };
    }
  };
  try {
    const refused = await told('an account to be made', (limit) => provisioner.register(account, limit));
    if (refused) return refused;
    const signedIn = await look('provisioned');
    if (!signedIn.ok) return signedIn;
    const kept = await told('the account to be taken away', (limit) => provisioner.unregister(account, limit));
    if (kept) return kept;
    const after = await look('disabled');
    return { ...after, ms: Math.round(performance.now() - began), facts: { ...signedIn.facts, ...after.facts } };
  } finally {
    await takeAway(provisioner, account);
  }
}

/** Whatever became of the probe; that it was away already is no fault. */
async function takeAway(provisioner: Provisioner, { user }: ProbeAccount): Promise<void> {
  await provisioner.unregister({ user }, AbortSignal.timeout(CLOSE_MS * 4)).catch(() => undefined);
}

/** One process, told one order: whatever becomes of it, it is gone at the end. */
async function inProcess(
  order: Omit<ProbeOrder, 'endsAt'>,
  limitMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  signal.throwIfAborted();
  const began = performance.now();
  const child = fork(MAIN, [], {
    env: moverEnvironment(),
    execArgv: HEAP,
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const endsAt = moment() + limitMs - CLOSE_MS;
  let result: ProbeResult | null = null;
  let expects = 'its clients to start';
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, limitMs);
  const stop = (): void => askToEnd(child);
  signal.addEventListener('abort', stop, { once: true });
  child.on('message', (message: FromProbe) => {
    if ('expects' in message) ({ expects } = message);
    else ({ result } = message);
  });
  try {
    const how = await ended(child, () => child.send({ order: { ...order, endsAt } } satisfies ToProbe));
    signal.throwIfAborted();
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    if (result) return result;
    if (late)
      return { ok: false, ms: limitMs, because: `expected ${expects}; saw nothing within ${seconds} s`, facts: {} };
    throw failure('probe-died', `probe of ${order.what}: its process ${how}`);
  } finally {
    clearTimeout(limit);
    signal.removeEventListener('abort', stop);
  }
}

/** How the process has ended; it is gone then, and all that it said was heard. */
function ended(child: ChildProcess, begin: () => void): Promise<string> {
  return new Promise((resolve, reject) => {
    let words = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      words = (words + text).slice(-STDERR_BYTES);
    });
    child.on('error', (error) => {
      if (child.pid === undefined) reject(error); // Of one that was started, the end is waited for.
    });
    child.on('close', (code, killed) => {
      const how = killed ? `was ended by ${killed}` : `ended with code ${code}`;
      resolve(words.trim() === '' ? how : `${how}: ${words.trim()}`);
    });
    begin();
  });
}

function askToEnd(child: ChildProcess): void {
  if (child.connected) child.send({ stop: true } satisfies ToProbe);
  const late = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS);
  child.once('exit', () => clearTimeout(late));
}
