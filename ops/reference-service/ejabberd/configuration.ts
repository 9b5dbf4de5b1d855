import { stringify } from 'yaml';
import { QUEUE, serverRules, serviceListeners, serviceModules, type BoughtServices } from './services.ts';
import { managementPermissions } from './tokens.ts';

/** What one site of the reference service is told. */
export interface EjabberdOptions {
  site: string;
  domain: string;
  /** Loopback address of this site: 127.0.0.n. Both sites use the same ports, each at its own address. */
  address: string;
  ports: EjabberdPorts;
  databaseUrl: string;
  /** PEM files: this site's certificate with its key, and the authority that both trust. */
  certificate: string;
  authority: string;
  peer: { site: string; address: string };
  /** The DNS by which it finds other servers; left out: the machine's. */
  resolver?: { address: string; port: number } | null;
  /** Left out: nothing was bought. */
  bought?: BoughtServices;
}

export interface EjabberdPorts {
  /** Where clients sign in: StartTLS is required. */
  clients: number;
  /** Erlang distribution: the same at both sites, because there is no port mapper. */
  distribution: number;
  /** HTTPS: the API for Tandem. */
  management: number;
  /** HTTPS, for browsers (BOSH, WebSocket) and uploaded files; left out: none of these is offered. */
  web?: number;
  /** STUN, and TURN where it was bought, over UDP; left out: neither is offered. */
  stun?: number;
  /** Partners' servers come here, and listen at the same port; left out: there is no federation. */
  servers?: number;
}

/** Seconds until a peer that swallows packets is taken for gone; the same at both sites. */
export const TICK_S = 8;

export const nodeOf = (site: string, address: string): string => `${site}@${address}`;

/**
 * ejabberd.yml. Caches are off: what Tandem writes into the tables counts at once. SQL statements
 * end after seconds: ejabberd's own limit is a minute, and a sign-in would hang as long.
 */
export function ejabberdConfiguration(o: EjabberdOptions): string {
  const servers = serverRules(o);
  return stringify(
    {
      loglevel: 'info',
      log_rotate_count: 0,
      net_ticktime: TICK_S,
      hosts: [o.domain],
      certfiles: [o.certificate],
      ca_file: o.authority,
      auth_method: ['sql'],
      auth_password_format: 'scram',
      disable_sasl_mechanisms: ['digest-md5', 'X-OAUTH2'],
      ...sqlConnection(o.databaseUrl),
      sql_pool_size: 5,
      sql_query_timeout: '5 seconds',
      default_db: 'sql',
      new_sql_schema: false,
      use_cache: false,
      auth_use_cache: false,
      listen: [
        {
          port: o.ports.clients,
          ip: o.address,
          module: 'ejabberd_c2s',
          access: 'c2s',
          backlog: QUEUE,
          starttls_required: true,
          max_stanza_size: 262_144,
        },
        {
          port: o.ports.management,
          ip: o.address,
          module: 'ejabberd_http',
          tls: true,
          request_handlers: { '/api': 'mod_http_api' },
        },
        ...serviceListeners(o),
      ],
      ...servers.rules,
      acl: servers.acl,
      access_rules: { c2s: { allow: 'all' }, ...servers.access },
      api_permissions: managementPermissions(o.domain),
      oauth_use_cache: false,
      shaper_rules: { max_user_sessions: 10, max_user_offline_messages: new Map([[1000, 'all']]) },
      modules: modules(o),
    },
    { lineWidth: 0 },
  );
}

/** How ejabberd is told a database. */
export function sqlConnection(databaseUrl: string): Record<string, string | number> {
  const { hostname, port, username, password, pathname } = new URL(databaseUrl);
  return {
    sql_type: 'pgsql',
    sql_server: hostname,
    sql_port: Number(port),
    sql_database: pathname.slice(1),
    sql_username: decodeURIComponent(username),
    sql_password: decodeURIComponent(password),
  };
}

const modules = (o: EjabberdOptions): Record<string, unknown> => ({
  mod_adhoc: {},
  mod_blocking: {},
  mod_caps: {},
  mod_carboncopy: {},
  mod_client_state: {},
  mod_disco: {},
  mod_http_api: {},
  mod_last: {},
  mod_offline: { access_max_user_messages: 'max_user_offline_messages' },
  mod_ping: {},
  mod_privacy: {},
  mod_private: {},
  mod_roster: { versioning: true, store_current_id: true },
  mod_stream_mgmt: { resend_on_timeout: 'if_offline' },
  mod_vcard: { search: false },
  ...serviceModules(o),
  mod_tandem: {
    site: o.site,
    peer: o.peer.site,
    peer_node: nodeOf(o.peer.site, o.peer.address),
    peer_clients: `${o.peer.address}:${o.ports.clients}`,
  },
  mod_tandem_filter: {},
});
