import type { ManagementAccess } from '../settings.ts';
import type { Finding } from '../vault/bucket.ts';
import { askService } from './management.ts';

const LIMIT_MS = 4000;

/** What an answer that is none means, by its text, and what to do; the last fits all. */
const meanings: readonly (readonly [pattern: RegExp, observed: string, next: string])[] = [
  [
    /answered with 40[04]/,
    'it has no mod_tandem, and serves whoever signs in',
    'Add mod_tandem to `modules` of ejabberd.yml, as ops/reference-service/ejabberd/MODULE.md says, and start ejabberd again.',
  ],
  [
    /answered with 40[13]/,
    'it refuses the token',
    'Compare the file that `service.management.token` names with table `oauth_token` of its database, and `api_permissions` with ops/reference-service/ejabberd/MODULE.md.',
  ],
  [
    /certificate that (expired|is not valid)/,
    'its certificate is not in its time',
    'Renew it; `ejabberdctl reload_config` takes a new one in `certfiles`. A clock that is wrong does the same.',
  ],
  [
    /certificate|altname|CERT_/i,
    'its certificate is not trusted',
    'Renew it, or correct `service.management.ca` of this site.',
  ],
  [/(?:)/, 'it does not answer', 'Look whether ejabberd runs, and at `service.management.url` of this site.'],
];

/** What to do about what the service finds wrong with itself, by its text; the last fits all. A peer that is away is no fault of this site. */
const remedies: readonly (readonly [pattern: RegExp, severity: Finding['severity'], next: string])[] = [
  [
    /peer_node: .* nothing answers/,
    'warning',
    'Look whether the peer runs, and at ERL_DIST_PORT and the link between the sites.',
  ],
  [
    /peer_node: .* refuses/,
    'error',
    'Compare .erlang.cookie of both sites, and `peer_node` with ERLANG_NODE of the other one; then start ejabberd again.',
  ],
  [
    /^net_ticktime/,
    'error',
    'Set `net_ticktime: 8` in ejabberd.yml and `-kernel net_ticktime 8` in ERL_OPTIONS at both sites, and start ejabberd again.',
  ],
  [/(?:)/, 'error', 'Correct it in ejabberd.yml, and start ejabberd again.'],
];

/**
 * What is wrong with a site's own service as far as Tandem depends on it: whether it is there, has `mod_tandem`, reads its
 * database's rows, and keeps nothing of them in a cache. Changes nothing.
 */
export async function inspectService(
  management: ManagementAccess,
  { site, domain }: { site: string; domain: string },
): Promise<Finding[]> {
  const subject = `service of ${domain} at ${site}`;
  const error = (observed: string, next: string): Finding => ({ severity: 'error', subject, observed, try: next });
  const ask = (command: string): Promise<unknown> =>
    askService(management, command, { host: domain }, { limitMs: LIMIT_MS });
  try {
    if ((await ask('tandem_look_again')) !== 0)
      return [
        error(
          'it cannot read the right to serve in its database, and serves nobody',
          'Grant `tandem_service` to the role of ejabberd; its log has the database’s own words.',
        ),
      ];
    const faults = await ask('tandem_faults');
    const list = Array.isArray(faults) ? faults.map(String) : [];
    const found = list.map((observed): Finding => {
      const [, severity, next] = remedies.find(([pattern]) => pattern.test(observed)) ?? [null, 'error' as const, ''];
      return { severity, subject, observed, try: next };
    });
    const waits = whyWaiting(await ask('tandem_ran_through').catch(() => null));
    return waits ? [...found, { subject, ...waits }] : found;
  } catch (cause) {
    return [error(...meaningOf(cause))];
  }
}

/** Whether the peer's service knows this site, which asks it before and after a move. One that does not answer is a warning. */
export async function inspectPeerService(
  management: ManagementAccess,
  { site, domain }: { site: string; domain: string },
): Promise<Finding[]> {
  try {
    await askService(management, 'tandem_rights', { host: domain }, { limitMs: LIMIT_MS });
    return [];
  } catch (cause) {
    const [observed, next] = meaningOf(cause);
    const refused = /answered with/.test(observed);
    const subject = `service of ${domain} at ${site}, as its peer`;
    const told = refused ? next.replace('management.token', 'management.peer-token') : next;
    return [{ severity: refused ? 'error' : 'warning', subject, observed, try: told }];
  }
}

/** Nothing to be asked: neither a doctor nor a move would know that it obeys nobody. */
export const noService = ({ site, domain }: { site: string; domain: string }): Finding => ({
  severity: 'warning',
  subject: `service of ${domain} at ${site}`,
  observed: `sites.${site}.service.management is not configured: nobody asks it whether it obeys the right to serve, or keeps tables in a cache`,
  try: 'Name its API, as ops/EJABBERD.md says.',
});

/** What it says of its worker; null when all is well. */
function whyWaiting(ran: unknown): Omit<Finding, 'subject'> | null {
  if (ran === 0) return null;
  return ran === null
    ? {
        severity: 'warning',
        observed: 'it may not be asked whether it ran while the worker was away, after which the site then closes',
        try: 'Add tandem_ran_through to `api_permissions`, as ops/reference-service/ejabberd/MODULE.md says.',
      }
    : {
        severity: 'error',
        observed: 'it waits for a sign of life of its site, and serves nobody',
        try: 'Start the worker of this site: `tandem site status` says what it decides.',
      };
}

function meaningOf(cause: unknown): [observed: string, next: string] {
  const text = cause instanceof Error ? cause.message : String(cause);
  const [, observed, next] = meanings.find(([pattern]) => pattern.test(text)) ?? [];
  return [`${observed ?? 'it does not answer'} (${text})`, next ?? ''];
}
