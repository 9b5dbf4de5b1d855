import type { Cursor } from '../../runbooks/yaml.ts';
import { publicKeyOf } from '../keys.ts';
import { bucketOf, endpoint, hostPort, SAFE } from './addresses.ts';
import { capacityOf } from './capacity.ts';
import { channelsOf, pagingOf } from './channels.ts';
import type { SiteConfiguration } from './configuration.ts';
import { commandsOf, requestsOf } from './outside.ts';
import { accountOf, secretOf, sourceOf } from './references.ts';
import { serviceOf } from './service.ts';
import { proxyOf } from './traffic.ts';
import { unique } from './unique.ts';

const siteKeys = [
  'temporal',
  'worker',
  'vault',
  'signing',
  'channels',
  'paging',
  'requests',
  'commands',
  'service',
  'proxy',
  'capacity',
] as const;

/** `sites.SITE`. */
export function siteOf(site: string, at: Cursor): SiteConfiguration {
  const f = at.fields(siteKeys);
  const { temporal, worker, vault, signing, requests, commands, service, capacity } = f;
  const channels = channelsOf(f.channels);
  const t = temporal.fields(['address', 'namespace', 'ui']);
  const w = worker.fields(['listen', 'callbacks']);
  const v = vault.fields(['endpoint', 'region', 'bucket', 'writer', 'cleaner', 'reader']);
  const accounts = {
    writer: accountOf(v.writer),
    cleaner: v.cleaner.present ? accountOf(v.cleaner) : null,
    reader: accountOf(v.reader),
  };
  unique(
    vault,
    Object.entries(accounts).map(([role, account]) => [account ? sourceOf(account.accessKeyId) : '', role]),
    'the same account',
  );
  const s = signing.fields(['public-key', 'private-key']);
  const publicKey = s['public-key'].text(
    'an OpenSSH line is expected: ssh-ed25519 AAAA…',
    (k) => publicKeyOf(k) !== null,
  );
  return {
    site,
    temporal: {
      address: t.address.text('host:port is expected', hostPort),
      namespace: t.namespace.text('a namespace is expected'),
      ui: t.ui.text('an http(s) address is expected', (u) => URL.canParse(u)),
    },
    listen: w.listen.text('host:port is expected', hostPort),
    callbacks: w.callbacks.present ? w.callbacks.text(SAFE, endpoint) : null,
    vault: {
      ...bucketOf(v),
      ...accounts,
    },
    publicKey: publicKey.split(/\s+/).slice(0, 2).join(' '),
    privateKey: secretOf(s['private-key']),
    channels,
    paging: pagingOf(f.paging, channels),
    requests: requestsOf(requests),
    commands: commandsOf(commands),
    service: serviceOf(service),
    proxy: proxyOf(f.proxy),
    capacityUsers: capacityOf(capacity),
  };
}
