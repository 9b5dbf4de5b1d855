import { Client } from 'pg';

/**
 * Who may use ejabberd's API, and for what. Each of Tandem's workers has a token of its own: the site's own, and the
 * peer's, which can look and make the service read again what the site's database says, and nothing else.
 */

export const MANAGER = 'tandem';
const scopes = { own: 'tandem:site', peer: 'tandem:peer' } as const;
const YEARS = 10 * 365 * 24 * 3600;

/** `api_permissions` of ejabberd.yml. Nothing else is granted to anybody, over whatever way. */
export function managementPermissions(domain: string): Record<string, unknown> {
  const who = (scope: string): unknown => ({ oauth: [{ scope }, { user: `${MANAGER}@${domain}` }] });
  const looks = ['tandem_look_again', 'tandem_rights', 'tandem_filter_digest', 'connected_users_number'];
  return {
    'the site': {
      from: ['mod_http_api'],
      who: who(scopes.own),
      what: [
        ...looks,
        'tandem_faults',
        'tandem_modules',
        'tandem_where',
        'tandem_ran_through',
        'tandem_archiving',
        'kick_user',
        'register',
        'unregister',
      ],
    },
    'its peer': { from: ['mod_http_api'], who: who(scopes.peer), what: looks },
  };
}

/** Writes the tokens into the site's database, as `ejabberdctl oauth_issue_token` does; those of before are gone. */
export async function admitToManagement(
  databaseUrl: string,
  domain: string,
  tokens: Record<keyof typeof scopes, string>,
): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const manager = `${MANAGER}@${domain}`;
    const until = Math.floor(Date.now() / 1000) + YEARS;
    await client.query('begin');
    await client.query('delete from oauth_token where jid = $1', [manager]);
    for (const whose of ['own', 'peer'] as const) {
      await client.query('insert into oauth_token (token, jid, scope, expire) values ($1, $2, $3, $4)', [
        tokens[whose],
        manager,
        scopes[whose],
        until,
      ]);
    }
    await client.query('commit');
  } finally {
    await client.end();
  }
}
