import { describe, expect, it } from 'vitest';
import type { ProbeQuestion, ProbeResult } from '../../activities/probes/services/port.ts';
import { probeService } from '../../activities/probes/services/probe.ts';
import { blackHole, droppingPort } from '../rig/black-holes.ts';
import { newAuthority, newServer } from '../rig/certificates.ts';
import { clientsOf } from './clients.ts';
import { decoy } from './decoy.ts';

/** What a probe does where there is no service: it ends in time, and tells nobody a password. */

const DOMAIN = 'acme.example';
const LIMIT_MS = 4000;
const account = { user: 'nobody', password: 'a password of the probes' };

function ask(clients: string, change: Partial<ProbeQuestion> = {}, ca: string | null = null): Promise<ProbeResult> {
  return probeService({
    service: 'instant-messaging',
    target: { domain: DOMAIN, clients, web: null, address: null, resolver: null, ca },
    accounts: { first: account, second: account, third: account },
    relay: false,
    partner: null,
    provisioner: null,
    limitMs: LIMIT_MS,
    signal: new AbortController().signal,
    ...change,
  });
}

const because = async (probe: Promise<ProbeResult>): Promise<string> => {
  const result = await probe;
  expect(result.ok).toBe(result.because === '');
  return result.because;
};

describe('no password is given', () => {
  const authority = newAuthority('a test');
  it.each([
    ['whose certificate is for another name', () => newServer(authority, 'other.example'), /altnames/],
    ['whose certificate nobody trusts', () => newServer(newAuthority('another'), DOMAIN), /certificate/],
    ['that offers no encryption', () => null, /no encryption is offered/],
  ])('to a server %s', async (_, certificate, saw) => {
    const trap = await decoy(certificate());
    try {
      expect(await because(ask(trap.at, { service: 'remote-access', limitMs: 6000 }, authority.certificate))).toMatch(
        saw,
      );
      expect(trap.heard()).toContain('<stream:stream');
      expect(trap.heard()).not.toContain('<auth');
    } finally {
      await trap.close();
    }
  });
});

describe('a probe ends within its time-out', () => {
  const inTime = async (probe: Promise<ProbeResult>): Promise<string> => {
    const began = performance.now();
    const told = await because(probe);
    expect(performance.now() - began).toBeLessThan(LIMIT_MS + 700);
    return told;
  };

  it('at a host that takes connections and says nothing', async () => {
    const hole = await blackHole();
    expect(await inTime(ask(`127.0.0.1:${hole.port}`))).toMatch(
      /^expected account \d to sign in at .*; saw nothing more than a connection without an answer, after [\d.]+ s$/,
    );
    await hole.close();
  });

  it('at a host that drops packets', async () => {
    const hole = await droppingPort();
    expect(await inTime(ask(`127.0.0.1:${hole.port}`))).toMatch(/saw nothing more than no connection, after/);
    await hole.close();
  });

  it('at a host where nobody listens, at once', async () => {
    const began = performance.now();
    expect(await because(ask('127.0.0.1:9'))).toMatch(/saw connect ECONNREFUSED 127\.0\.0\.1:9/);
    expect(performance.now() - began).toBeLessThan(LIMIT_MS);
  });

  it('and when it is asked to stop: its process is gone within a second, and it fails as it was told', async () => {
    const hole = await blackHole();
    const stop = new AbortController();
    const probe = ask(`127.0.0.1:${hole.port}`, { signal: stop.signal });
    await expect.poll(() => hole.opened()).toBeGreaterThan(0);
    const began = performance.now();
    stop.abort(new Error('asked to stop'));
    await expect(probe).rejects.toThrow('asked to stop');
    expect(performance.now() - began).toBeLessThan(1500); // A second, and a busy machine.
    expect(clientsOf(process.pid)).toEqual([]);
    await hole.close();
  });
});
