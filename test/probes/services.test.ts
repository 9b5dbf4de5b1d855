import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ProbeResult, ProbedService, Provisioner } from '../../activities/probes/services/port.ts';
import { findEjabberd } from '../../ops/reference-service/ejabberd/installed.ts';
import { points } from '../rig/form.ts';
import { freeze } from '../rig/freeze.ts';
import { sql } from '../rig/sql.ts';
import { clientsOf } from './clients.ts';
import { DOMAIN, openService, type Running, type Service } from './world.ts';

/** Real clients at a real ejabberd: each service is seen working, and seen broken for the reason that it is. */

const ejabberd = findEjabberd();
let service: Service;
let east: Running;
const provisioner: Provisioner = {
  register: ({ user, password }) => service.register(user, password),
  unregister: ({ user }) => service.unregister(user),
};
const at = (text: string): Promise<unknown> => sql(service.database.url, text);
const because = async (probe: Promise<ProbeResult>): Promise<string> => {
  const result = await probe;
  expect(result.ok).toBe(result.because === '');
  return result.because;
};
/** While a statement is in force. */
async function under<T>(text: string, undo: string, work: () => Promise<T>): Promise<T> {
  await at(text);
  try {
    return await work();
  } finally {
    await at(undo);
  }
}

// A real ejabberd is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(ejabberd === null)('probes of services', () => {
  beforeAll(async () => {
    if (!ejabberd) return;
    service = await openService(ejabberd);
    east = await service.start('east', '127.0.0.6', {
      bought: { archiving: true, externalAv: true, partners: [] },
    });
  }, 60_000);
  afterAll(() => service?.stop());

  const all = [
    'contacts',
    'instant-messaging',
    'presence',
    'remote-access',
    'audio-video',
    'file-transfer',
    'mobile',
    'web-access',
    'archiving',
    'provisioning',
  ] as const satisfies ProbedService[];

  it('are green for whatever works, two of each at once with the same accounts, and leave no session behind', async () => {
    const results = await Promise.all(
      [...all, ...all].map((name) => east.probe(name, { provisioner, limitMs: 30_000 })),
    );
    expect(results.map((r) => r.because)).toEqual([...all, ...all].map(() => ''));
    expect(results[all.indexOf('audio-video')]?.facts).toMatchObject({ relayed: true });
    await expect.poll(() => east.sessions()).toBe(0);
    expect(await at('select count(*)::int as kept from spool')).toEqual([{ kept: 0 }]);
    expect(await at('select count(*)::int as kept from push_session')).toEqual([{ kept: 0 }]);
    expect(await at(`select count(*)::int as kept from users where username like 'tandem-probe-%'`)).toEqual([
      { kept: 0 },
    ]);
  });

  describe('contacts', () => {
    const columns =
      'id, t, value, action, ord, match_all, match_iq, match_message, match_presence_in, match_presence_out';
    const block = (user: string): string =>
      `insert into privacy_list_data (${columns}) values (1, 'j', '${user}@${DOMAIN}', 'd', 2, true, false, false, false, false)`;
    const unblock = (user: string): string => `delete from privacy_list_data where value = '${user}@${DOMAIN}'`;

    it('is red when a blocked user is let through: the block list did not come back', async () => {
      const told = await under(unblock('probe-3'), block('probe-3'), () => because(east.probe('contacts')));
      expect(told).toMatch(
        /^expected the message of account 3, which account 2 has blocked, to come back as an error; saw it arrive: nobody is blocked, after [\d.]+ s$/,
      );
    });

    it('is red when a user whom nobody has blocked is kept out as well', async () => {
      const told = await under(block('probe-1'), unblock('probe-1'), () => because(east.probe('contacts')));
      expect(told).toMatch(
        /^expected a message of account 1, whom nobody has blocked, to arrive at account 2; saw it come back: service-unavailable/,
      );
    });
  });

  type Off = [ProbedService, string, RegExp];
  const off = points<Off>(
    [
      ['mobile', 'mod_push', /^expected push to be switched on for account 3; saw service-unavailable/],
      [
        'web-access',
        'mod_bosh',
        /^expected account 2 to sign in at bosh:.*; saw BOSH: the server ended the session: internal-server-error/,
      ],
      ['contacts', 'mod_privacy', /saw it arrive: nobody is blocked/],
    ],
    [
      ['mobile', 'mod_stream_mgmt', /^expected a session that can be resumed; saw nothing/],
      ['archiving', 'mod_mam', /^expected the archive of account 1 to have it; saw service-unavailable/],
      [
        'file-transfer',
        'mod_http_upload',
        /^expected a service that takes files; saw none among the \d+ of the domain/,
      ],
      ['audio-video', 'mod_stun_disco', /^expected STUN and TURN services with credentials; saw service-unavailable/],
    ],
  );
  it.each(off)('%s is red when %s is off', async (name, module, told) => {
    expect(await east.without(module, () => because(east.probe(name, { limitMs: 6000 })))).toMatch(told);
  });

  it('instant messaging is red when what is said comes back, presence when nobody is shown', async () => {
    const blocked = `update privacy_list_data set value = 'probe-1@${DOMAIN}'`;
    const told = await under(blocked, `update privacy_list_data set value = 'probe-3@${DOMAIN}'`, () =>
      because(east.probe('instant-messaging')),
    );
    expect(told).toMatch(
      /^expected a message of account 1 to arrive at account 2; saw it come back: service-unavailable/,
    );
    const alone = await under(
      `update rosterusers set subscription = 'N'`,
      `update rosterusers set subscription = 'B'`,
      () => because(east.probe('presence', { limitMs: 6000 })),
    );
    expect(alone).toMatch(/^expected account 1 to see account 2 come; saw nothing, after/);
  });

  it('archiving is red when the archive answers, and has not kept it', async () => {
    const never = `insert into archive_prefs (username, def, always, never) values ('probe-1', 'never', '[]', '[]')`;
    const told = await under(never, 'delete from archive_prefs', () =>
      because(east.probe('archiving', { limitMs: 6000 })),
    );
    expect(told).toMatch(
      /^expected the archive of account 1 to have it; saw an archive without it, asked \d+ times, after/,
    );
  });

  it('provisioning is red when a new account is not known, and when one that was taken away still signs in', async () => {
    const nobody = { ...provisioner, register: () => Promise.resolve() };
    expect(await because(east.probe('provisioning', { provisioner: nobody }))).toMatch(
      /^expected the new account to sign in at .*; saw not-authorized/,
    );
    let asked = 0;
    const forgetful = { ...provisioner, unregister: async () => void (asked += 1) };
    expect(await because(east.probe('provisioning', { provisioner: forgetful }))).toMatch(
      /^expected the account that was taken away to be refused as not-authorized; saw it sign in/,
    );
    expect(asked).toBe(2); // Once more at the end, whatever came of it.
    await at(`delete from users where username like 'tandem-probe-%'`);
  });

  it('is red within its time-out at a frozen server, and over a database that does not answer', async () => {
    await freeze(east.record.pid);
    const began = performance.now();
    try {
      expect(await because(east.probe('remote-access', { limitMs: 5000 }))).toMatch(
        /^expected account 1 to sign in at .*; saw nothing more than a connection without an answer/,
      );
    } finally {
      process.kill(east.record.pid, 'SIGCONT');
    }
    const lock = new Client({ connectionString: service.database.url });
    await lock.connect();
    await lock.query('begin; lock table users in access exclusive mode');
    try {
      expect(await because(east.probe('remote-access', { limitMs: 5000 }))).toMatch(
        /^expected account 1 to sign in at .*; saw nothing more than a stream before sign-in/,
      );
    } finally {
      await lock.end();
    }
    expect(performance.now() - began).toBeLessThan(2 * (5000 + 700));
    // It was the database, and not the probe: with it back, the same question has another answer.
    expect(await because(east.probe('remote-access'))).toBe('');
  });

  describe('a probe that can no longer help itself', () => {
    /** One that waits for what will not come, with its sessions open; its process. */
    async function stuck(limitMs: number): Promise<{ probe: Promise<ProbeResult>; pid: number }> {
      await at(`update rosterusers set subscription = 'N'`);
      const probe = east.probe('presence', { limitMs });
      probe.catch(() => undefined);
      await expect.poll(() => east.sessions(), { timeout: 10_000 }).toBe(2);
      return { probe, pid: Number(clientsOf(process.pid)[0]) };
    }
    afterEach(() => at(`update rosterusers set subscription = 'B'`));

    it('leaves no session behind when it is killed, and is no verdict on the service', async () => {
      const { probe, pid } = await stuck(20_000);
      process.kill(pid, 'SIGKILL');
      await expect(probe).rejects.toThrow(/^probe of presence: its process was ended by SIGKILL/);
      await expect.poll(() => east.sessions()).toBe(0);
    });

    it('is ended at its limit when it stands still, and what it waited for is told', async () => {
      const { probe, pid } = await stuck(6000);
      process.kill(pid, 'SIGSTOP');
      expect(await because(probe)).toMatch(/^expected account 1 to see account 2 come; saw nothing within 6\.\d s$/);
      expect(clientsOf(process.pid)).toEqual([]);
    });
  });

  it('follows users to the site that serves them', async () => {
    const { ports } = east.options;
    const databaseUrl = await service.databaseOf('west');
    await service.start('west', '127.0.0.9', { ports, databaseUrl, peer: { site: 'east', address: '127.0.0.6' } });
    for (const url of [service.database.url, databaseUrl])
      await sql(url, `update tandem.home set site = 'west' where username = 'probe-1'`);
    await east.lookAgain();
    await expect.poll(() => because(east.probe('instant-messaging', { limitMs: 5000 })), { timeout: 20_000 }).toBe('');
    await at(`update tandem.home set site = 'east'`);
    await east.lookAgain();
  });
});
