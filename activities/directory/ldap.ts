import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { connect as connectSecure, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { Client, ResultCodeError, type Entry } from 'ldapts';
import { failure, failureKind, type FailureKind } from '../../workflows/model/failures.ts';
import { oneLine, reasonOf } from '../notify/limit.ts';
import type { LdapSettings } from '../settings.ts';
import { READING_LIMITS, type Directory, type Entitled, type ReadingLimits } from './port.ts';

/** Entries a page, chosen anew for each reading; see `endsInTheOpen`. */
const PAGE = { least: 400, most: 600 };

/** Of a page: it is held in memory until it is whole, and a server that never ends it must not fill that. */
const PAGE_BYTES = 32 * 1024 * 1024;
const LOOK_MS = 100;

/** What the server says no to, whoever asks again (RFC 4511). */
const refusals: Record<number, string> = {
  7: 'it does not know this way to bind',
  8: 'it wants a stronger way to bind',
  13: 'it wants encryption',
  32: 'the base does not exist, or the account may not see it',
  34: 'the base is no name of an entry',
  48: 'the account may not bind like this',
  49: 'the account or its password is wrong',
  50: 'the account may not read this',
};
/** Half an answer, by a limit or by another server that has the rest. */
const halves: Record<number, string> = {
  3: 'its limit of time was reached',
  4: 'its limit of size was reached',
  9: 'it has but a part',
  10: 'another server has it',
  11: 'its administrative limit was reached',
};

/**
 * A directory by LDAP: one connection for one answer, bound as an account that only reads, over TLS except on loopback. A
 * connection that breaks is not made anew: whatever came over it is void.
 */
export function ldapDirectory(settings: LdapSettings, limits: ReadingLimits = READING_LIMITS): Directory {
  const name = `directory ${settings.url}`;
  return {
    name,
    async *entitled(outer) {
      const late = AbortSignal.timeout(limits.wholeMs);
      const signal = AbortSignal.any([outer, late]);
      const line = new Line(settings, limits, signal);
      try {
        yield* line.pages(name);
      } catch (error) {
        outer.throwIfAborted();
        if (late.aborted)
          throw failure('directory-unreachable', `${name}: no whole answer within ${limits.wholeMs / 1000} s`);
        throw failureKind(error) ? error : translated(name, error);
      } finally {
        line.cut();
      }
    },
  };
}

/** One connection. */
class Line {
  private readonly settings: LdapSettings;
  private readonly limits: ReadingLimits;
  private readonly signal: AbortSignal;
  private readonly cutOff = Promise.withResolvers<never>();
  private readonly client: Client;
  private socket: Socket | null = null;
  private readonly looking: NodeJS.Timeout;
  /** Bytes that had come when the page began. */
  private before = 0;
  private tooMuch = false;

  constructor(settings: LdapSettings, limits: ReadingLimits, signal: AbortSignal) {
    this.settings = settings;
    this.limits = limits;
    this.signal = signal;
    const { url, tls } = settings;
    // Not every promise of the library ends when its socket does.
    this.cutOff.promise.catch(() => undefined);
    signal.addEventListener('abort', this.cut, { once: true });
    this.looking = setInterval(this.look, LOOK_MS);
    this.client = new Client({
      url,
      timeout: limits.questionMs,
      connectTimeout: limits.questionMs,
      ...(tls === 'implicit' && { tlsOptions: this.trust() }),
      createConnection: ((port: number, host: string) =>
        this.once(() => connectPlain({ port, host }))) as typeof connectPlain,
      createSecureConnection: ((...args: [number, string, ConnectionOptions] | [ConnectionOptions]) =>
        args.length === 1
          ? connectSecure(args[0]) // Over the connection that is there: StartTLS.
          : this.once(() => connectSecure(args[0], args[1], args[2]))) as typeof connectSecure,
    });
  }

  /** Left to itself the library connects again, as nobody, and takes what nobody is shown for all there is. */
  private once<S extends Socket | TLSSocket>(open: () => S): S {
    if (this.socket) throw new Error('the connection was lost');
    this.signal.throwIfAborted();
    const socket = open();
    this.socket = socket;
    return socket;
  }

  private readonly look = (): void => {
    this.tooMuch ||= (this.socket?.bytesRead ?? 0) - this.before > PAGE_BYTES;
    if (this.tooMuch) this.cut();
  };

  /** Ends the connection and whatever waits for it; nothing is said to a server that may not listen. */
  readonly cut = (): void => {
    clearInterval(this.looking);
    this.signal.removeEventListener('abort', this.cut);
    this.cutOff.reject(new Error('the connection was cut'));
    this.socket?.destroy();
  };

  private held<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.cutOff.promise]);
  }

  private trust(): ConnectionOptions {
    const { url, ca } = this.settings;
    const host = new URL(url).hostname.replaceAll(/[[\]]/g, '');
    return {
      host,
      // An address has no place in the greeting; it is looked for in the certificate all the same.
      ...(isIP(host) === 0 && { servername: host }),
      ...(ca !== null && { ca }),
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
    };
  }

  async *pages(name: string): AsyncGenerator<Entitled[]> {
    const { base, bind, tls, attributes } = this.settings;
    if (tls === 'starttls') await this.held(this.withinQuestion(this.client.startTLS(this.trust())));
    await this.held(this.client.bind(bind.dn, bind.password));
    const pageSize = PAGE.least + Math.floor(Math.random() * (PAGE.most - PAGE.least));
    const wanted = [attributes.username, attributes.home, attributes.credentials].filter((a) => a !== null);
    const found = this.client.searchPaginated(base, {
      scope: 'sub',
      filter: filterOf(this.settings),
      attributes: wanted,
      paged: { pageSize },
      timeLimit: Math.ceil(this.limits.wholeMs / 1000),
    });
    let read = 0;
    for (;;) {
      const next = await this.held(found.next()).catch((error: unknown) => {
        if (this.tooMuch)
          throw failure('directory-incomplete', `${name}: a page of more than ${PAGE_BYTES / 1024 / 1024} MiB`);
        throw error;
      });
      this.before = this.socket?.bytesRead ?? 0;
      if (next.done) return;
      const { searchEntries: entries, searchReferences: elsewhere } = next.value;
      if (elsewhere.length > 0)
        throw failure('directory-incomplete', `${name}: other servers have a part of it; name a base that is whole`);
      if (entries.length > pageSize)
        throw failure('directory-incomplete', `${name}: it gives no pages, and cannot be read within bounds`);
      if (entries.length === 0 && read > 0) throw endsInTheOpen(name);
      read += entries.length;
      if (read > this.limits.most)
        throw failure('directory-incomplete', `${name}: more than ${this.limits.most} users, which is the limit`);
      if (entries.length > 0) yield entries.map((entry) => entitledOf(entry, attributes));
    }
  }

  /** The library has no limit for the handshake that StartTLS ends with. */
  private async withinQuestion(work: Promise<void>): Promise<void> {
    const timer = setTimeout(this.cut, this.limits.questionMs);
    try {
      await this.held(work);
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * The library takes an empty page for the last one, and some servers send empty ones in the middle. Where the last page is
 * full there may be an empty one behind it: a reading with pages of another size does not meet it again.
 */
const endsInTheOpen = (name: string): Error =>
  failure('directory-incomplete', `${name}: it ended with an empty page, behind which there may be more`);

/** Whom the filter finds and the entitlement stands at. */
export function filterOf({ filter, attributes }: Pick<LdapSettings, 'filter' | 'attributes'>): string {
  const { name, value } = attributes.entitlement;
  return `(&${filter}(${name}=${value === null ? '*' : escaped(value)}))`;
}

/** RFC 4515. */
const escaped = (value: string): string =>
  value.replaceAll(/[\\*()\0]/g, (char) => `\\${char.charCodeAt(0).toString(16).padStart(2, '0')}`);

function entitledOf(entry: Entry, { username, home, credentials }: LdapSettings['attributes']): Entitled {
  return {
    // Of several names none is the one that is meant; the empty one is no user's.
    username: single(texts(entry, username)) ?? '',
    home: home === null ? null : single(texts(entry, home)),
    credentials: credentials === null ? [] : texts(entry, credentials),
  };
}

const single = (values: readonly string[]): string | null => (values.length === 1 ? (values[0] ?? null) : null);

/** Attributes have no case; what is no text is nothing that is looked for here. */
function texts(entry: Entry, attribute: string): string[] {
  const wanted = attribute.toLowerCase();
  const found = Object.entries(entry).find(([name]) => name.toLowerCase() === wanted)?.[1] ?? [];
  return (Array.isArray(found) ? found : [found]).filter((value) => typeof value === 'string');
}

/** What a certificate lacks, by the code that TLS gives for it. */
const certificates: readonly (readonly [code: RegExp, what: string])[] = [
  [/^CERT_HAS_EXPIRED$/, 'its certificate has expired'],
  [/^CERT_NOT_YET_VALID$/, 'its certificate is not valid yet'],
  [/^ERR_TLS_CERT_ALTNAME/, 'its certificate is for another name'],
  [/^(UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|CERT_UNTRUSTED)/, 'its certificate is signed by nobody who is trusted'],
  [/^(CERT_|ERR_TLS_CERT|ERR_SSL)/, 'there is no trusted connection to it'],
];

function translated(name: string, error: unknown): Error {
  const told = (kind: FailureKind, why: string): Error => failure(kind, `${name}: ${why}`);
  if (error instanceof ResultCodeError) {
    const { code } = error;
    if (refusals[code]) return told('directory-refused', `${refusals[code]} (LDAP ${code})`);
    if (halves[code]) return told('directory-incomplete', `${halves[code]} (LDAP ${code})`);
    return told('directory-unreachable', `it answers with LDAP ${code}`);
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const lacks = certificates.find(([pattern]) => pattern.test(code))?.[1];
  if (lacks) return told('directory-refused', `${lacks} (${code})`);
  return told('directory-unreachable', code || oneLine(reasonOf(error)));
}
