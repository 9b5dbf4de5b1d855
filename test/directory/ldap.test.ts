import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:tls';
import { Client, Control } from 'ldapts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ldapDirectory } from '../../activities/directory/ldap.ts';
import { READING_LIMITS, type ReadingLimits } from '../../activities/directory/port.ts';
import type { LdapSettings } from '../../activities/settings.ts';
import { hasSlapd, loadPeople, type Person } from '../../ops/reference-service/slapd.ts';
import { failureKind, failureText } from '../../workflows/model/failures.ts';
import { blackHole } from '../rig/black-holes.ts';
import { newAuthority, newServer } from '../rig/certificates.ts';
import { scratchSlapd, wireTo, type ScratchSlapd } from '../rig/slapd.ts';

/** A real slapd that says no, says half, says nothing, or is not the one that is meant. */

const people = Array.from({ length: 1300 }, (_, i): Person => ({
  username: `user${i}`,
  entitled: true,
  credentials: 'x',
}));

let slapd: ScratchSlapd;
const never = new AbortController().signal;
const limits = (change: Partial<ReadingLimits> = {}): ReadingLimits => ({
  ...READING_LIMITS,
  questionMs: 1500,
  wholeMs: 4000,
  ...change,
});

/** What came before it failed, and how it failed. */
async function read(
  change: Partial<LdapSettings> = {},
  limit = limits(),
): Promise<{ users: number; kind: string | null; text: string; ms: number }> {
  const begun = performance.now();
  const ms = (): number => performance.now() - begun;
  let users = 0;
  try {
    for await (const page of ldapDirectory({ ...slapd.settings, ...change }, limit).entitled(never))
      users += page.length;
    return { users, kind: null, text: '', ms: ms() };
  } catch (error) {
    return { users, kind: failureKind(error) ?? String(error), text: failureText(error), ms: ms() };
  }
}

/** Until the last of its threads stands still: on a busy machine one may answer yet. */
async function freeze(): Promise<void> {
  process.kill(slapd.record.pid, 'SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 300));
}

const port = (): number => Number(new URL(slapd.settings.url).port);

// slapd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(!hasSlapd())('an LDAP directory', () => {
  beforeAll(async () => {
    slapd = await scratchSlapd();
    await loadPeople(slapd, people);
  });
  afterAll(() => slapd.close());

  describe('gives no answer', () => {
    it.each<[string, () => Partial<LdapSettings>, string, RegExp]>([
      [
        'with a wrong password',
        () => ({ bind: { ...slapd.reader, password: 'wrong' } }),
        'directory-refused',
        /the account or its password is wrong \(LDAP 49\)/,
      ],
      [
        'from a base that is not there',
        () => ({ base: 'ou=nobody,dc=contoso,dc=example' }),
        'directory-refused',
        /base/,
      ],
      [
        'without encryption',
        () => ({ url: `ldap://127.0.0.1:${slapd.plainPort}`, tls: 'none' }),
        'directory-refused',
        /wants encryption/,
      ],
    ])('%s', async (_, change, kind, text) => {
      expect(await read(change())).toMatchObject({ users: 0, kind, text: expect.stringMatching(text) as string });
    });

    it('under a certificate of another authority, or of another name', async () => {
      const ca = newAuthority('nobody we know').certificate;
      expect(await read({ ca })).toMatchObject({
        users: 0,
        kind: 'directory-refused',
        text: expect.stringMatching(/CERT|SIGNATURE/) as string,
      });
      const startTls = { url: `ldap://127.0.0.1:${slapd.plainPort}`, tls: 'starttls' } as const;
      expect(await read({ ...startTls, ca })).toMatchObject({ users: 0, kind: 'directory-refused' });
      const named = slapd.settings.url.replace('127.0.0.1', 'localhost');
      expect(await read({ url: named })).toMatchObject({
        kind: 'directory-refused',
        text: expect.stringMatching(/ALTNAME/) as string,
      });
    });

    it('under a certificate that has expired, and is told no password', async () => {
      const authority = newAuthority('of the directory');
      const server = createServer(newServer(authority, undefined, Date.now() - 60_000)).listen(0, '127.0.0.1');
      let heard = 0;
      server.on('secureConnection', (socket) => socket.on('data', (data: Buffer) => void (heard += data.length)));
      server.on('tlsClientError', () => undefined);
      await once(server, 'listening');
      try {
        const url = `ldaps://127.0.0.1:${(server.address() as AddressInfo).port}`;
        const { kind, text } = await read({ url, ca: authority.certificate });
        expect([kind, text]).toEqual(['directory-refused', expect.stringMatching(/CERT_HAS_EXPIRED/)]);
        expect(heard).toBe(0);
      } finally {
        server.close();
      }
    });

    it.each(['implicit', 'starttls'] as const)(
      'when it hangs, before or in the middle, longer than its limit (%s)',
      async (tls) => {
        const at = tls === 'implicit' ? {} : { url: `ldap://127.0.0.1:${slapd.plainPort}`, tls };
        await freeze();
        try {
          const { kind, ms } = await read(at);
          expect(kind).toBe('directory-unreachable');
          expect(ms).toBeLessThan(5000);
        } finally {
          process.kill(slapd.record.pid, 'SIGCONT');
        }
        expect(await read(at)).toMatchObject({ users: 1300, kind: null });
        let users = 0;
        const begun = performance.now();
        const middle = async (): Promise<void> => {
          for await (const page of ldapDirectory({ ...slapd.settings, ...at }, limits()).entitled(never)) {
            users += page.length;
            await freeze();
          }
        };
        try {
          expect(failureKind(await middle().catch((error: unknown) => error))).toBe('directory-unreachable');
        } finally {
          process.kill(slapd.record.pid, 'SIGCONT');
        }
        expect(users).toBeGreaterThan(0);
        expect(performance.now() - begun).toBeLessThan(5000);
      },
    );

    it('when a server takes the connection and says nothing', async () => {
      const hole = await blackHole();
      try {
        for (const [url, tls] of [
          [`ldaps://127.0.0.1:${hole.port}`, 'implicit'],
          [`ldap://127.0.0.1:${hole.port}`, 'starttls'],
        ] as const) {
          const { kind, ms } = await read({ url, tls });
          expect(kind).toBe('directory-unreachable');
          expect(ms).toBeLessThan(5000);
        }
      } finally {
        await hole.close();
      }
    });

    it.each([20_000, 60_000, 100_000])(
      'when the connection breaks after %i bytes, and never goes on over another one as nobody',
      async (bytes) => {
        const wire = await wireTo(port(), bytes);
        try {
          const { kind, users } = await read({ url: `ldaps://127.0.0.1:${wire.port}` });
          expect(kind).toBe('directory-unreachable');
          expect(users).toBeLessThan(1300);
          expect(wire.opened()).toBe(1);
        } finally {
          wire.close();
        }
      },
    );

    it('when the connection breaks anywhere before the answer begins: it is not made anew, where it would be nobody’s', async () => {
      for (let bytes = 0; bytes < 3600; bytes += 40) {
        const wire = await wireTo(port(), bytes);
        try {
          expect(await read({ url: `ldaps://127.0.0.1:${wire.port}` })).toMatchObject({
            users: 0,
            kind: 'directory-unreachable',
          });
          expect(wire.opened()).toBe(1);
        } finally {
          wire.close();
        }
      }
    });

    it('when another server has a part of it', async () => {
      const admin = new Client({
        url: slapd.url,
        tlsOptions: { ca: slapd.settings.ca ?? '', host: '127.0.0.1' },
      });
      const dn = `ou=elsewhere,${slapd.base}`;
      const manage = new Control('2.16.840.1.113730.3.4.2', { critical: true });
      await admin.bind(slapd.administrator.dn, slapd.administrator.password);
      try {
        await admin.add(
          dn,
          { objectClass: ['referral', 'extensibleObject'], ou: 'elsewhere', ref: 'ldap://127.0.0.1:1/ou=x' },
          manage,
        );
        expect(await read()).toMatchObject({
          kind: 'directory-incomplete',
          text: expect.stringMatching(/other servers/) as string,
        });
        await admin.del(dn, manage);
      } finally {
        await admin.unbind();
      }
    });
  });

  it('gives nothing but what is asked: its account reads no other attribute, and writes none', async () => {
    const reader = new Client({ url: slapd.url, tlsOptions: { ca: slapd.settings.ca ?? '', host: '127.0.0.1' } });
    await reader.bind(slapd.reader.dn, slapd.reader.password);
    const { searchEntries } = await reader.search(slapd.base, { scope: 'sub', filter: '(uid=user7)' });
    expect(Object.keys(searchEntries[0] ?? {}).toSorted()).toEqual([
      'authPassword',
      'dn',
      'objectClass',
      'tandemEntitled',
      'uid',
    ]);
    await expect(reader.del(`uid=user7,${slapd.base}`)).rejects.toThrow(/0x32/);
    await reader.unbind();
    const nobody = new Client({ url: slapd.url, tlsOptions: { ca: slapd.settings.ca ?? '', host: '127.0.0.1' } });
    await expect(nobody.search(slapd.base, { filter: '(uid=user7)' })).rejects.toThrow();
    await nobody.unbind();
  });

  it('is read whole, also over StartTLS, and by an entitlement without a value', async () => {
    const attributes = {
      ...slapd.settings.attributes,
      entitlement: { name: 'TANDEMENTITLED', value: null },
      username: 'UID',
    };
    expect(await read({ attributes })).toMatchObject({ users: 1300, kind: null });
    expect(await read({ url: `ldap://127.0.0.1:${slapd.plainPort}`, tls: 'starttls' })).toMatchObject({ users: 1300 });
  });
});

// slapd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(!hasSlapd())('half an answer', () => {
  it('is none: a limit of size ends it in the middle', async () => {
    const small = await scratchSlapd({ sizeLimit: 700 });
    const kept = slapd;
    slapd = small;
    try {
      await loadPeople(small, people);
      const { kind, users, text } = await read();
      expect([kind, text]).toEqual(['directory-incomplete', expect.stringMatching(/limit of size/)]);
      expect(users).toBeGreaterThan(0); // Pages had come, and say nothing.
      expect(users).toBeLessThan(1300);
    } finally {
      slapd = kept;
      await small.close();
    }
  });
});
