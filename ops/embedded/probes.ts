import { partnerEntry, hasPartner } from './partner.ts';
import { syntheticName } from './people/synthetic.ts';
import { peoplePassword, type Service } from './service.ts';
import { clientsPort, hasNameServer } from './traffic.ts';

/** `customers.CUSTOMER.probes` of tandem.yaml: by the address that users come to. */
export async function probesEntry(folder: string, service: Service): Promise<Record<string, unknown>> {
  await peoplePassword(folder);
  const { addresses, domain, ports } = service;
  const password = { file: 'secrets/people-password' };
  const account = (site: string, n: number) => ({ user: syntheticName(site, n), password });
  const of = <T>(entry: (site: string, address: string) => T): Record<string, T> =>
    Object.fromEntries(Object.entries(addresses).map(([site, address]) => [site, entry(site, address)]));
  return {
    addresses: of((_, address) => ({
      clients: `${address}:${clientsPort(service)}`,
      web: `https://${domain}:${ports.web}`,
      address,
    })),
    accounts: of((site) => ({ first: account(site, 1), second: account(site, 2), third: account(site, 3) })),
    ...(hasPartner() && partnerEntry(service, password)),
    ...(hasNameServer() && { resolver: `127.0.0.1:${ports.dns}` }),
    ca: 'tls/ca.pem',
  };
}
