import { beforeAll, describe, expect, it } from 'vitest';
import type { ProbeResult } from '../../activities/probes/services/port.ts';
import { probeKnown } from '../../activities/probes/services/probe.ts';
import { freeze } from '../rig/freeze.ts';
import { address, DOMAIN, PASSWORD, type ServiceSites } from '../rig/service.ts';

/** Before a site is lost the other one can be asked whether it would know its users: by signing in there. */

let service: ServiceSites;
const anna = { user: 'anna', password: PASSWORD };

/** Whether west knows anna, who is served at east. */
const look = (account = anna): Promise<ProbeResult> =>
  probeKnown({
    target: {
      domain: DOMAIN,
      clients: `${address.west}:${service.clients}`,
      web: null,
      address: null,
      resolver: null,
      ca: service.api('west').ca,
    },
    accounts: { first: account, second: account, third: account },
    limitMs: 10_000,
    signal: AbortSignal.timeout(15_000),
  });

export function known(opened: () => ServiceSites): void {
  describe('a user of the other half', () => {
    beforeAll(() => {
      service = opened();
    });

    it('is not known by another password, nor without an account: and that is said', async () => {
      const wrong = await look({ ...anna, password: 'another' });
      expect(wrong.ok).toBe(false);
      expect(wrong.because).toContain('saw not-authorized');
      await service.at('west', "update users set username = 'anne' where username = 'anna'");
      expect((await look()).because).toContain('saw not-authorized');
      await service.at('west', "update users set username = 'anna' where username = 'anne'");
    }, 30_000);

    it('is known where he is led to the site that serves him', async () => {
      expect(await look()).toMatchObject({ ok: true, because: '' });
    }, 20_000);

    it('is known while his own site is frozen', async () => {
      await freeze(service.processes.east.pid);
      try {
        expect(await look()).toMatchObject({ ok: true, because: '' });
      } finally {
        process.kill(service.processes.east.pid, 'SIGCONT');
      }
    }, 20_000);
  });
}
