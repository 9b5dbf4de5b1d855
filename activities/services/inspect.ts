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
    'it refuses the token of this site',
    'Issue it again (`ejabberdctl oauth_issue_token`) and compare `api_permissions` with ops/reference-service/ejabberd/MODULE.md.',
  ],
  [
    /certificate|altname|CERT_/i,
    'its certificate is not trusted',
    'Renew it, or correct `service.management.ca` of this site.',
  ],
  [/(?:)/, 'it does not answer', 'Look whether ejabberd runs, and at `service.management.url` of this site.'],
];

/**
 * What is wrong with a site's own service as far as Tandem depends on it: whether it is there, has `mod_tandem`, reads its
 * database's rows, and keeps nothing of them in a cache. Changes nothing.
 */
export async function inspectService(
  management: ManagementAccess,
  { site, domain }: { site: string; domain: string },
): Promise<Finding[]> {
  const error = (observed: string, next: string): Finding => ({
    severity: 'error',
    subject: `service of ${domain} at ${site}`,
    observed,
    try: next,
  });
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
    return list.map((fault) => error(fault, 'Correct it in ejabberd.yml, and start ejabberd again.'));
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    const [, observed, next] = meanings.find(([pattern]) => pattern.test(text)) ?? [];
    return [error(`${observed ?? 'it does not answer'} (${text})`, next ?? '')];
  }
}
