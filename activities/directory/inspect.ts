import { failureKind, failures, failureText } from '../../workflows/model/failures.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs, type Timestamp } from '../../workflows/model/snapshots.ts';
import { Database } from '../contacts/database.ts';
import { preparedName } from '../contacts/jid.ts';
import type { CustomerSettings, DirectorySettings, LdapSettings } from '../settings.ts';
import type { Finding } from '../vault/bucket.ts';
import { directoryState, isOld, tellHeld, type DirectoryState } from './answer.ts';
import { peerAnswer, tellDifference } from './differ.ts';
import { ldapDirectory } from './ldap.ts';
import { openDirectory } from './open.ts';
import type { Directory } from './port.ts';

/** What is wrong with a customer's directory as one site asks it, and with the answer by which the site goes. */

const LIMITS = { connections: 1, connectMs: 4000, statementMs: 20_000 };

/** What it says, beside what is wrong: numbers only. */
export interface DirectoryLook {
  site: string;
  customer: string;
  /** Whom it entitles now, and how long the whole answer took; null when it gave none. */
  entitled: number | null;
  tookMs: number;
  /** Of the answer in force at the site. */
  at: Timestamp | null;
}

interface Asked {
  site: string;
  customer: Pick<CustomerSettings, 'id' | 'peer' | 'databaseUrl' | 'peerDatabaseUrl'>;
  directory: DirectorySettings;
  signal: AbortSignal;
}

/** Why there is no answer, by what is said of it, and what helps; `AT` stands for the place in the configuration. */
const remedies: readonly (readonly [pattern: RegExp, next: string])[] = [
  [/LDAP (7|48|49)\)/, 'Correct `AT.bind`: its dn, or the password in the secret that it names.'],
  [/LDAP (32|34)\)/, 'Correct `AT.base`; or let the account see it, as ops/DIRECTORY.md says.'],
  [/LDAP 50\)/, 'Let the account read what ops/DIRECTORY.md lists.'],
  [/LDAP (8|13)\)/, 'Write ldaps:// in `AT.url`, or take `tls: none` away.'],
  [/CERT_HAS_EXPIRED/, 'Renew the certificate of the directory server. Until then nothing is asked of it.'],
  [/CERT_NOT_YET_VALID/, 'Look at the clocks of this machine and of the directory server.'],
  [/ALTNAME/, 'Name the server in `AT.url` as its certificate does, or give it one for that name.'],
  [/nobody who is trusted/, 'Name the authority that signed it in `AT.ca`.'],
  [/name a base/, 'Name a base in `AT.base` that this server has as a whole.'],
  [/limit of size|limit of time|administrative limit/, 'Raise that limit for this account, as ops/DIRECTORY.md says.'],
  [/ENOTFOUND|EAI_AGAIN/, 'Correct the host in `AT.url`, or the name service of this machine.'],
  [
    /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|no whole answer|timed? ?out/i,
    'Look whether the directory server runs, at the way to it, and at `AT.url`.',
  ],
];

/** Asks for all, as the follower does, and compares with what is in force. Changes nothing. Throws only at the signal. */
export async function inspectDirectory(asked: Asked): Promise<{ findings: Finding[]; look: DirectoryLook }> {
  const { site, customer, directory, signal } = asked;
  const { source } = directory;
  const where = source.kind === 'ldap' ? ` at ${source.ldap.url}` : '';
  const subject = `directory of ${customer.id}${where}, asked as ${site}`;
  const findings: Finding[] = [];
  const say: Say = (severity, observed, next) =>
    void findings.push({
      severity,
      subject,
      observed,
      try: next.replaceAll('AT.', `customers.${customer.id}.directory.ldap.`),
    });
  const database = new Database(`database of ${customer.id} at ${site}`, customer.databaseUrl, LIMITS);
  const began = performance.now();
  try {
    const entitled = await askAll(openDirectory(directory, database), say, signal);
    const tookMs = Math.round(performance.now() - began);
    if (entitled === 0 && source.kind === 'ldap') await whyNobody(source.ldap, say, signal);
    await judgeAccounts(database, directory, say);
    const state = await stateOf(database, customer.id);
    if (state !== 'unknown') judgeState(state, asked, say);
    if (state !== 'unknown') await judgePeer(state, asked, say);
    return {
      findings,
      look: { site, customer: customer.id, entitled, tookMs, at: state === 'unknown' ? null : (state?.at ?? null) },
    };
  } finally {
    await database.close();
  }
}

type Say = (severity: Finding['severity'], observed: string, next: string) => void;

/** How many it entitles; null, and said, when it gives no whole answer. */
async function askAll(directory: Directory, say: Say, signal: AbortSignal): Promise<number | null> {
  let entitled = 0;
  let unnamed = 0;
  try {
    for await (const page of directory.entitled(signal)) {
      entitled += page.length;
      unnamed += page.filter(({ username }) => preparedName(username.trim()) === null).length;
    }
  } catch (error) {
    signal.throwIfAborted();
    const kind = failureKind(error);
    if (!kind) throw error;
    const text = failureText(error);
    const observed = text.startsWith(`${directory.name}: `) ? text.slice(directory.name.length + 2) : text;
    say('error', observed, remedies.find(([pattern]) => pattern.test(observed))?.[1] ?? failures[kind].try);
    return null;
  }
  if (unnamed > 0)
    say(
      unnamed === entitled ? 'error' : 'warning',
      `${unnamed} of ${entitled} entitled entries have no name that the service can have`,
      'Compare `AT.attributes.username` with the entries; `tandem directory check` counts what else is odd.',
    );
  return entitled;
}

/** An answer without anybody is whole, and hardly what is meant. */
async function whyNobody(ldap: LdapSettings, say: Say, signal: AbortSignal): Promise<void> {
  const { name, value } = ldap.attributes.entitlement;
  const anybody = { ...ldap, attributes: { ...ldap.attributes, entitlement: { name: 'objectClass', value: null } } };
  let found = false;
  try {
    for await (const page of ldapDirectory(anybody).entitled(signal)) {
      found = page.length > 0;
      break;
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!failureKind(error)) throw error;
    return; // It answered a moment ago; what it says now, the next look tells.
  }
  const wanted = value === null ? name : `${name}=${value}`;
  if (found)
    say(
      'error',
      `nobody has ${wanted} among those whom ${ldap.filter} finds`,
      'Correct `AT.attributes.entitlement`; or let the account read this attribute.',
    );
  else
    say(
      'error',
      `${ldap.filter} finds nobody below ${ldap.base}`,
      'Correct `AT.filter` or `AT.base`; or let the account see these entries.',
    );
}

/** Whoever gives keys makes accounts; whoever gives none looks who has one. Without these rights no answer is ever applied. */
async function judgeAccounts(database: Database, { source }: DirectorySettings, say: Say): Promise<void> {
  const makes = source.kind === 'table' || source.ldap.attributes.credentials !== null;
  const columns = makes ? ['username', 'password', 'serverkey', 'salt', 'iterationcount'] : ['username'];
  const rights = makes ? ['select', 'insert', 'update'] : ['select'];
  try {
    const [row] = await database.query<{ role: string; lacking: string | null }>(
      `select current_user as role, string_agg(distinct p, ', ') as lacking from unnest($1::text[]) c, unnest($2::text[]) p
        where to_regclass('users') is not null and not has_column_privilege(to_regclass('users'), c, p)`,
      [columns, rights],
    );
    if (row?.lacking == null) return;
    const granted = makes ? rights.join(', ') : 'select (username)';
    say(
      'error',
      `role ${row.role} lacks ${row.lacking} on users: no answer can be applied`,
      `As the owner of that table: grant ${granted} on users to ${row.role}.`,
    );
  } catch (error) {
    if (!failureKind(error)) throw error; // One that does not answer is told by its own inspection.
  }
}

/** `unknown`: the database does not answer, which its own inspection says. */
async function stateOf(database: Database, customer: string): Promise<DirectoryState | null | 'unknown'> {
  try {
    return await directoryState(database, customer);
  } catch (error) {
    if (failureKind(error)) return 'unknown';
    throw error;
  }
}

function judgeState(state: DirectoryState | null, { site, customer, directory }: Asked, say: Say): void {
  const show = `tandem directory show --site ${site} --customer ${customer.id}`;
  const follower = `Look at workflow \`provisioning\` in Temporal UI of ${site}, and at its worker.`;
  if (state?.held) return say('error', `an answer is held at ${site}: ${tellHeld(state.held)}`, `\`${show}\`.`);
  if (!state?.at) return say('warning', `no answer was ever believed at ${site}: nobody is disabled there`, follower);
  if (isOld(state, directory.everyMs, Date.now()))
    say(
      'error',
      `the answer in force at ${site} is ${duration(ageMs(state.at, Date.now()))} old, asked for every ${duration(directory.everyMs)}`,
      follower,
    );
}

/** A peer that is silent is what all this is for, and is said elsewhere. */
async function judgePeer(
  state: DirectoryState | null,
  { site, customer, directory, signal }: Asked,
  say: Say,
): Promise<void> {
  let theirs;
  try {
    theirs = await peerAnswer(customer, signal);
  } catch {
    signal.throwIfAborted();
    return;
  }
  const told = tellDifference(
    [
      [site, state],
      [customer.peer, theirs],
    ],
    directory.everyMs,
    Date.now(),
  );
  if (told !== null)
    say(
      'error',
      told,
      'Compare `tandem directory show` of both: one that is held or silent says so; homes that differ are for a move to correct.',
    );
}
