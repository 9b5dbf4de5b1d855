import { join } from 'node:path';
import { certificateFor } from '../reference-service/authority.ts';
import { hasProsody, startPartner } from '../reference-service/prosody/partner.ts';
import { PARTNER, peoplePassword, type Service } from './service.ts';
import { hasNameServer, PARTNER_HOST } from './traffic.ts';

/** The trusted partner of the stack's customer: a server of somebody else, at neither site. */

/** Under which it stands among the processes. */
export const PARTNER_SITE = 'partner';
export const PARTNER_ADDRESS = PARTNER_HOST;
const USER = 'probe';

/** Servers find each other by the stack's own name server. */
export const hasPartner = (): boolean => hasProsody() && hasNameServer();

export async function startStackPartner(folder: string, { authority, ports }: Service): Promise<void> {
  await startPartner(folder, {
    name: PARTNER_SITE,
    domain: PARTNER,
    address: PARTNER_ADDRESS,
    ports: { clients: ports['partner-clients'], servers: ports['partner-servers'] },
    certificate: await certificateFor(authority, join(folder, 'tls', 'partner.pem'), [PARTNER]),
    authority: authority.certificate,
    resolver: { address: '127.0.0.1', port: ports.dns },
    accounts: [{ user: USER, password: await peoplePassword(folder) }],
  });
}

/** `customers.CUSTOMER.probes.partner`. */
export const partnerEntry = ({ ports }: Service, password: unknown): Record<string, unknown> => ({
  partner: { domain: PARTNER, clients: `${PARTNER_ADDRESS}:${ports['partner-clients']}`, user: USER, password },
});
