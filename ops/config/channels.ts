import { readFile } from 'node:fs/promises';
import type { ChannelSettings } from '../../activities/notify/port.ts';
import { Fault } from '../fault.ts';
import { nearest, type Cursor } from '../../runbooks/yaml.ts';
import { endpoint, hostPort, loopback } from './addresses.ts';
import type { Configuration, SecretReference } from './configuration.ts';
import { secretOf } from './references.ts';
import { pathOf, secretText } from './secrets.ts';

/** Ways to people and machines outside, as `sites.SITE.channels` says them; secrets are references still. */
export type ChannelConfiguration =
  | { kind: 'webhook'; url: string; secret: SecretReference | null; ca: FileReference | null }
  | {
      kind: 'smtp';
      host: string;
      port: number;
      tls: 'required' | 'implicit' | 'none';
      user: string | null;
      password: SecretReference | null;
      from: string;
      to: string[];
      ca: FileReference | null;
    }
  | { kind: 'outbox'; folder: string };

/** A file that is no secret, and where it was named. */
interface FileReference {
  file: string;
  at: string;
  path: string;
}

const kinds = ['webhook', 'smtp', 'outbox'] as const;
const encryptions = ['required', 'implicit', 'none'] as const;
/** Whoever keeps it needs no more, and a group of them has an address of its own. */
const MOST_RECIPIENTS = 20;

export function channelsOf(at: Cursor): ReadonlyMap<string, ChannelConfiguration> {
  if (!at.present) return new Map();
  return new Map(
    at.entries('channel').flatMap(([name, place]) => {
      const channel = channelOf(place);
      return channel ? [[name, channel] as const] : [];
    }),
  );
}

/** Who is paged: names of this site's channels, each once. */
export function pagingOf(at: Cursor, channels: ReadonlyMap<string, ChannelConfiguration>): string[] {
  if (!at.present) return [];
  const known = [...channels.keys()];
  const seen = new Set<string>();
  return at.items().map((item) => {
    const name = item.text('the name of a channel is expected');
    if (name !== '' && !known.includes(name)) item.fault(`${item.seen()} is no channel; ${nearest(name, known)}`);
    if (seen.has(name)) item.fault(`${item.seen()} is named twice`);
    seen.add(name);
    return name;
  });
}

function channelOf(at: Cursor): ChannelConfiguration | null {
  const fields = at.fields(kinds);
  const given = kinds.filter((kind) => fields[kind].present);
  const [kind] = given;
  if (kind === undefined || given.length > 1) {
    at.fault(`${given.length} kinds of channel; exactly one of ${kinds.join(', ')} is allowed`);
    return null;
  }
  if (kind === 'webhook') return webhookOf(fields.webhook);
  if (kind === 'smtp') return smtpOf(fields.smtp);
  const { folder } = fields.outbox.fields(['folder']);
  return { kind, folder: folder.text('a folder is expected') };
}

function webhookOf(at: Cursor): ChannelConfiguration {
  const { url, secret, ca } = at.fields(['url', 'secret', 'ca']);
  return {
    kind: 'webhook',
    url: url.text('https is expected, without a name or password in it; http is allowed on loopback only', (v) => {
      return endpoint(v) && new URL(v).username === '' && new URL(v).password === '';
    }),
    secret: secret.present ? secretOf(secret) : null,
    ca: caOf(ca),
  };
}

function smtpOf(at: Cursor): ChannelConfiguration {
  const f = at.fields(['server', 'tls', 'user', 'password', 'from', 'to', 'ca']);
  const [host = '', port = ''] = f.server.text('host:port is expected', hostPort).split(':');
  const tls = f.tls.present ? f.tls.oneOf(encryptions) : 'required';
  if (tls === 'none' && host !== '' && !loopback(host))
    f.tls.fault(`"none" to ${host}; mail that leaves this machine is encrypted: required or implicit is allowed`);
  if (f.user.present !== f.password.present) at.fault('user and password stand together, or neither does');
  const to = f.to.items().map((item) => item.text('a mail address is expected', isAddress));
  if (to.length === 0) f.to.fault('nobody; one recipient at the least is expected');
  if (to.length > MOST_RECIPIENTS) f.to.fault(`${to.length} recipients; at most ${MOST_RECIPIENTS} are allowed`);
  return {
    kind: 'smtp',
    host,
    port: Number(port),
    tls,
    user: f.user.present ? f.user.text('a name is expected') : null,
    password: f.password.present ? secretOf(f.password) : null,
    from: f.from.text('a mail address is expected', isAddress),
    to,
    ca: caOf(f.ca),
  };
}

const isAddress = (value: string): boolean => /^[^\s@<>,;"\p{Cc}]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$/u.test(value);

function caOf(at: Cursor): FileReference | null {
  if (!at.present) return null;
  const place = { at: at.source.at(at.node?.range?.[0] ?? 0), path: at.path.join('.') };
  return { file: at.text('the path of a file with certificates in PEM is expected'), ...place };
}

/** What sends needs: with the secrets and certificates that the channel names. */
export async function channelSettings(
  configuration: Configuration,
  channel: ChannelConfiguration,
): Promise<ChannelSettings> {
  if (channel.kind === 'outbox') return { kind: 'outbox', folder: pathOf(configuration, channel.folder) };
  const ca = channel.ca && (await certificates(configuration, channel.ca));
  if (channel.kind === 'webhook') {
    const secret = channel.secret && (await secretText(configuration, channel.secret)).trim();
    return { ...channel, secret, ca };
  }
  const password = channel.password && (await secretText(configuration, channel.password)).trim();
  return { ...channel, password, ca };
}

async function certificates(configuration: Configuration, { file, at, path }: FileReference): Promise<string> {
  const text = await readFile(pathOf(configuration, file), 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Fault(`${at}: ${path}: file ${file}: ${error.code ?? error.message}`, 'Look at the file.');
  });
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new Fault(`${at}: ${path}: file ${file}: holds no certificate in PEM`, 'Name the file of the authority.');
}
