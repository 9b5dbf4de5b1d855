import { partnerEntry, hasPartner } from './partner.ts';
import { PILOT, syntheticName } from './people/synthetic.ts';
import { peoplePassword, type Service } from './service.ts';
import { clientsPort, hasNameServer } from './traffic.ts';

/** `customers.CUSTOMER.probes` of tandem.yaml: by the address that users come to. */
export async function probesEntry(folder: string, service: Service): Promise<Record<string, unknown>> {
  await peoplePassword(folder);
  const { addresses, domain, ports } = service;
  const password = { file: 'secrets/people-password' };
  const account = (half: string, n: number) => ({ user: syntheticName(half, n), password });
  const three = (half: string) => ({ first: account(half, 1), second: account(half, 2), third: account(half, 3) });
  const pilots = Object.keys(addresses).map((site) => `${site}/${PILOT}`);
  const of = <T>(entry: (site: string, address: string) => T): Record<string, T> =>
    Object.fromEntries(Object.entries(addresses).map(([site, address]) => [site, entry(site, address)]));
  return {
    addresses: of((_, address) => ({
      clients: `${address}:${clientsPort(service)}`,
      web: `https://${domain}:${ports.web}`,
      address,
    })),
    accounts: { ...of(three), ...Object.fromEntries(pilots.map((half) => [half, three(half)])) },
    ...(hasPartner() && partnerEntry(service, password)),
    ...(hasNameServer() && { resolver: `127.0.0.1:${ports.dns}` }),
    ca: 'tls/ca.pem',
  };
}
