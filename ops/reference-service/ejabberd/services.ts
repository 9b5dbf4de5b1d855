import type { EjabberdOptions } from './configuration.ts';

/** What a site offers beside sign-in, contacts and messages, as SERVICE promises it, and as the customer has bought it. */

/** What the customer has bought, and whom he talks to. */
export interface BoughtServices {
  /** Text messages are kept. Without it there is no archive that could fill. */
  archiving: boolean;
  /** Calls of users on the Internet go through a relay. Without it none is offered. */
  externalAv: boolean;
  /** Domains of trusted partners. */
  partners: readonly string[];
  /** Domains with which text is exchanged, and nothing else; to and from all others nothing goes. Left out: none. */
  thirdParties?: readonly string[];
  /** Domains of public IM, with which text and presence are. Left out: none. */
  publicIm?: readonly string[];
}

/** Days after which uploaded files are deleted, as archives are (activities/archive/expired.ts). */
const UPLOADS_KEPT_DAYS = 30;

/**
 * Connections that wait to be taken in. With the five of ejabberd's default, most of those who come from a lost site at once
 * would hang for half a minute and more.
 */
export const QUEUE = 1024;

type Entry = Record<string, unknown>;

/** A port that is left out is not offered. */
export function serviceListeners({ address: ip, ports, bought }: EjabberdOptions): Entry[] {
  const listeners: Entry[] = [];
  if (ports.web !== undefined) {
    const handlers = { '/bosh': 'mod_bosh', '/ws': 'ejabberd_http_ws', '/upload': 'mod_http_upload' };
    listeners.push({
      port: ports.web,
      ip,
      module: 'ejabberd_http',
      tls: true,
      backlog: QUEUE,
      request_handlers: handlers,
    });
  }
  if (ports.stun !== undefined) {
    const relay = bought?.externalAv
      ? { use_turn: true, auth_type: 'user' }
      : { use_turn: false, auth_type: 'anonymous' };
    listeners.push({
      port: ports.stun,
      ip,
      transport: 'udp',
      module: 'ejabberd_stun',
      turn_ipv4_address: ip,
      ...relay,
    });
  }
  if (ports.servers !== undefined)
    listeners.push({
      port: ports.servers,
      ip,
      module: 'ejabberd_s2s_in',
      backlog: QUEUE,
      max_stanza_size: 524_288,
    });
  return listeners;
}

export function serviceModules({ ports, bought }: EjabberdOptions): Record<string, Entry> {
  return {
    mod_push: {},
    mod_push_keepalive: {},
    mod_pubsub: { plugins: ['flat', 'pep'] },
    ...(bought?.archiving && {
      // Nobody is asked whether his messages are kept.
      mod_mam: {
        default: 'always',
        access_preferences: 'none',
        assume_mam_usage: true,
        request_activates_archiving: false,
      },
      mod_tandem_archive: {},
    }),
    ...(ports.web !== undefined && {
      mod_bosh: {},
      // Who is not of this domain, as a partner's user is, gets no slot. SERVICE has no limit of size.
      mod_http_upload: {
        put_url: `https://@HOST@:${ports.web}/upload`,
        docroot: '@HOME@/upload',
        access: 'local',
        max_size: 'infinity',
        thumbnail: false,
      },
      mod_http_upload_quota: { max_days: UPLOADS_KEPT_DAYS },
    }),
    ...(ports.servers !== undefined && {
      mod_tandem_federation: {
        partners: bought?.partners ?? [],
        public_im: bought?.publicIm ?? [],
        external_av: bought?.externalAv ?? false,
      },
    }),
    ...(ports.stun !== undefined && { mod_stun_disco: { offer_local_services: true, access: 'local' } }),
  };
}

/**
 * Other servers prove by a certificate of a trusted authority who they are: there is no dialback that would believe the
 * DNS.
 */
export function serverRules({ ports, bought }: EjabberdOptions): { rules: Entry; acl: Entry; access: Entry } {
  const federated = [...(bought?.partners ?? []), ...(bought?.thirdParties ?? []), ...(bought?.publicIm ?? [])];
  return {
    rules: {
      s2s_use_starttls: 'required',
      // A domain that could not be reached is not tried again for so long; 300 s by default, in which all that is sent there comes back.
      s2s_max_retry_delay: '5 seconds',
      s2s_access: 'federated',
      ...(ports.servers !== undefined && { outgoing_s2s_port: ports.servers }),
    },
    acl: { local: { user_regexp: '' }, ...(federated.length > 0 && { federated: { server: federated } }) },
    access: {
      local: { allow: 'local' },
      federated: federated.length > 0 ? { allow: 'federated' } : { deny: 'all' },
    },
  };
}
