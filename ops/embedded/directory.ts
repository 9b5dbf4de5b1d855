import { join } from 'node:path';
import { certificateFor } from '../reference-service/authority.ts';
import type { SlapdAccess, SlapdOptions } from '../reference-service/slapd-configuration.ts';
import { hasSlapd, readerSecret, slapdAccess, startSlapd } from '../reference-service/slapd.ts';
import type { Service } from './service.ts';

/** The directory of the stack's customer: an OpenLDAP server of his own, which lives on whatever becomes of a site. */

/** Under which it stands among the processes. */
export const DIRECTORY_SITE = 'customer';
export const DIRECTORY_ADDRESS = '127.0.0.1';

export const hasDirectory = hasSlapd;

const optionsOf = ({ authority, domain, ports }: Service): Omit<SlapdOptions, 'certificate'> => ({
  site: DIRECTORY_SITE,
  address: DIRECTORY_ADDRESS,
  port: ports.directory,
  authority: authority.certificate,
  suffix: `dc=${domain.replaceAll('.', ',dc=')}`,
});

/** Null where the stack has none. */
export const directoryAccess = async (folder: string, service: Service | null): Promise<SlapdAccess | null> =>
  service && hasDirectory() ? slapdAccess(folder, optionsOf(service)) : null;

/** With an empty directory, or with what it held. */
export async function startDirectory(folder: string, service: Service): Promise<void> {
  const pem = join(folder, 'tls', 'directory.pem');
  const certificate = await certificateFor(service.authority, pem, [DIRECTORY_ADDRESS]);
  await startSlapd(folder, { ...optionsOf(service), certificate });
}

/** `customers.CUSTOMER.directory` of tandem.yaml. */
export async function directoryEntry(folder: string, service: Service): Promise<Record<string, unknown>> {
  const access = await directoryAccess(folder, service);
  if (!access) return {};
  const ldap = {
    url: access.url,
    ca: 'tls/ca.pem',
    bind: { dn: access.reader.dn, password: { file: `secrets/${readerSecret(DIRECTORY_SITE)}` } },
    base: access.base,
    attributes: {
      username: 'uid',
      entitlement: 'tandemEntitled=TRUE',
      home: 'tandemHome',
      credentials: 'authPassword',
    },
  };
  return { directory: { ldap, every: '1m' } };
}
