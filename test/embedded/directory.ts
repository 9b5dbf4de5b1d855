import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { momentaryName } from '../../activities/probes/services/momentary.ts';
import type { ProbeResult, Provisioner } from '../../activities/probes/services/port.ts';
import { probeService } from '../../activities/probes/services/probe.ts';
import { provisionerOf } from '../../activities/probes/services/provisioner.ts';
import { questionOf } from '../../activities/probes/services/step.ts';
import { status } from '../../ops/embedded/control.ts';
import { describeSchedule } from '../../ops/schedules.ts';
import { scheduleIds } from '../../workflows/model/names.ts';
import type { Site } from '../rig/databases.ts';
import { atBoth, CUSTOMER, SITES, USERS, type WholeStack } from './whole-stack.ts';

const never = new AbortController().signal;

/** From an attribute in the customer's own directory to his users' sessions at two sites, as `dev up` starts them all. */
export function directoryClaims(opened: () => Promise<WholeStack>): void {
  let all: WholeStack;
  beforeAll(async () => {
    all = await opened();
    await all.peopled();
  }, 120_000);

  /** At each site, once it has asked; the follower asks by itself, too, and may be quicker. */
  const disabled = (): Promise<unknown[]> =>
    atBoth(async (site) => {
      await all.followed(site);
      return (await all.state(site))?.disabled;
    });

  it('stands at neither site, and says its password in no configuration, argument or log', async () => {
    const slapd = (await status(all.folder)).find(({ name }) => name === 'slapd');
    expect(slapd).toMatchObject({ site: 'customer', state: 'running', host: '127.0.0.1' });
    const places = [
      all.stack.configuration,
      `/proc/${slapd?.pid}/cmdline`,
      `/proc/${slapd?.pid}/environ`,
      slapd?.log ?? '',
    ];
    for (const place of places) {
      const text = await readFile(place, 'utf8');
      for (const { password } of [all.directory.reader, all.directory.administrator])
        expect(text).not.toContain(password);
    }
  });

  it('has given homes and accounts to all, the same at both sites, and each site follows it every minute', async () => {
    const everybody = `select h.username, h.site, u.password, e.enabled from tandem.home h join users u using (username)
                         join tandem.entitlement e using (username) order by 1`;
    const [east, west] = await atBoth((site) => all.at<{ enabled: boolean }>(site, everybody));
    expect(west).toEqual(east);
    expect(west?.filter(({ enabled }) => enabled)).toHaveLength(USERS);
    for (const site of SITES) {
      const schedule = await describeSchedule(all.client(site), scheduleIds.provisioning(CUSTOMER));
      expect(schedule?.spec.intervals?.map(({ every }) => every)).toEqual([60_000]);
      const shown = await all.tandem('directory', 'show', '--site', site);
      expect(shown).toMatchObject({ code: 0 });
      expect(shown.out).toMatch(/old: 60 users entitled, 0 disabled/);
      expect(shown.out).toMatch(`${site === 'east' ? 'west' : 'east'} goes by the same answer.`);
    }
  });

  it('is tried by doctor, as each site asks it', async () => {
    const told = await all.tandem('doctor');
    expect(told.out).not.toMatch(/directory of contoso/);
    for (const site of SITES)
      expect(told.out).toMatch(
        new RegExp(
          `^Directory of contoso, asked as ${site}: 60 users entitled, told in .*; the answer in force is .* old\\.$`,
          'm',
        ),
      );
  });

  it('ends the session of a user whose attribute is cleared, and both sites refuse him until it is set again', async () => {
    const [his, hers] = [await all.signIn('u000000', 'east'), await all.signIn('u000002', 'east')];
    await all.entitle(false, 'u000000');
    expect(await disabled()).toEqual([1, 1]);
    await expect.poll(() => his.ended, { timeout: 5000 }).not.toBeNull();
    for (const site of SITES) await expect(all.signIn('u000000', site)).rejects.toThrow('system-shutdown');
    expect(hers.ended).toBeNull();
    await all.entitle(true, 'u000000');
    expect(await disabled()).toEqual([0, 0]);
    await expect.poll(() => all.signIn('u000000', 'east').then(({ ended }) => ended, String)).toBeNull();
  });

  it('that is half filled disables nobody: both sites hold it, and say so', async () => {
    const half = Array.from({ length: 20 }, (_, i) => `u${String(i + 20).padStart(6, '0')}`).filter(
      (u) => u < 'u000040',
    );
    await all.entitle(false, ...half);
    try {
      expect(await atBoth(all.followed)).toMatchObject([{ state: 'held' }, { state: 'held' }]);
      const [{ enabled } = { enabled: 0 }] = await all.at<{ enabled: number }>(
        'west',
        'select count(*)::int as enabled from tandem.entitlement where enabled',
      );
      expect(enabled).toBe(USERS);
      const { out } = await all.tandem('status');
      for (const site of SITES)
        expect(out).toMatch(
          new RegExp(`DIRECTORY, seen at ${site}: .*held: it would disable 20 of 60 users, 3 are allowed`),
        );
      expect((await all.tandem('doctor')).out).toMatch(
        /error, seen from west: directory of contoso.*an answer is held at west/,
      );
    } finally {
      await all.entitle(true, ...half);
      await atBoth(all.followed);
    }
    expect((await all.tandem('status')).out).not.toMatch(/DIRECTORY/);
  });

  describe('beside the probe that makes an account and takes it away', () => {
    besideTheProbe(opened);
  });
}

function besideTheProbe(opened: () => Promise<WholeStack>): void {
  let all: WholeStack;
  beforeAll(async () => {
    all = await opened();
  });
  const provisioner = (site: Site): Provisioner =>
    provisionerOf(all.site(site), all.site(site).customer(CUSTOMER), site) ?? expect.fail('no provisioner');
  const probe = (site: Site, by: Provisioner = provisioner(site)): Promise<ProbeResult> => {
    const asked = questionOf(all.site(site).customer(CUSTOMER), { site, half: site, provisions: true }, 'provisioning');
    if (typeof asked === 'string') expect.fail(asked);
    return probeService({ ...asked, service: 'provisioning', provisioner: by, limitMs: 20_000, signal: never });
  };
  const residue = (site: Site, like = 'tandem-probe-%'): Promise<unknown[]> =>
    all.at(
      site,
      `select username from tandem.home where username like '${like}' union all
       select username from tandem.entitlement where username like '${like}' union all
       select username from users where username like '${like}'`,
    );
  /** The worker looks by itself, too, and takes away what it has made. */
  const nothingLeft = async (site: Site): Promise<void> => {
    await expect.poll(() => residue(site)).toEqual([]);
  };

  it('is green at both sites, also while the follower looks, which counts it for nothing; nothing is left of it', async () => {
    const before = await all.state('west');
    const seen: unknown[] = [];
    const looking = (site: Site): Promise<ProbeResult> => {
      const by = provisioner(site);
      const register: Provisioner['register'] = async (account, signal) => {
        await by.register(account, signal);
        // The follower asks while the account is there, and the directory knows of none.
        await all.followed(site);
        const now = await all.state(site);
        seen.push([now?.held, now?.disabled]);
      };
      return probe(site, { ...by, register });
    };
    const results = await atBoth((site) => looking(site));
    expect(results.map(({ ok, because }) => [ok, because])).toEqual([
      [true, ''],
      [true, ''],
    ]);
    expect(seen).toEqual([
      [null, 0],
      [null, 0],
    ]);
    await atBoth(nothingLeft);
    expect((await all.state('west'))?.digest).toBe(before?.digest);
  });

  it('is red for the reason that it is: the directory lets the account in nowhere, or it cannot be made', async () => {
    const disabling = `create function public.never() returns trigger language plpgsql as $$ begin new.enabled := false; return new; end $$;
      create trigger never before insert on tandem.entitlement for each row execute function public.never()`;
    await all.at('west', disabling);
    try {
      expect((await probe('west')).because).toMatch(
        /^expected the new account to sign in at .*; saw system-shutdown, after/,
      );
    } finally {
      await all.at('west', 'drop trigger never on tandem.entitlement; drop function public.never()');
    }
    const refused = provisioner('west');
    const { services } = all.site('west').settings;
    const management = services.get('west')?.management;
    if (!management) throw new Error('no management');
    const { token } = management;
    management.token = 'another one';
    try {
      expect((await probe('west', refused)).because).toMatch(
        /^expected an account to be made; saw register: answered with 40[13]/,
      );
    } finally {
      management.token = token;
    }
    await nothingLeft('west');
  });

  it('is green again, and takes away what a probe has left that was killed in its middle', async () => {
    const left = { user: momentaryName(Date.now() - 3_600_000), password: 'x' };
    await provisioner('west').register(left, never);
    expect(await residue('west', left.user)).toHaveLength(3);
    expect((await probe('west')).because).toBe('');
    expect(await residue('west', left.user)).toEqual([]);
  });
}
