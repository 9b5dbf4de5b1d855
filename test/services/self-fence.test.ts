import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closingOf } from '../../activities/services/closed.ts';
import type { OwnSite } from '../../activities/services/site.ts';
import { Eyes } from '../../activities/probes/watch/eyes.ts';
import { lookAround } from '../../activities/probes/watch/look.ts';
import type { Seen } from '../../activities/probes/watch/seen.ts';
import { SiteGuard } from '../../ops/closing-loop.ts';
import { CUSTOMER } from '../failover-acts/world.ts';
import { closedAs, confirmedFor, customerOf, dark, say, serves, word, world, worldForEach } from './closed-ground.ts';

/** A site that sees neither its peer nor the witness closes itself. */

worldForEach();

describe('self-fence', () => {
  const MINUTE = 60_000;
  let now = 0;
  let witness: Server;
  let up = true;
  let url: string;
  beforeEach(async () => {
    now = 1000;
    up = true;
    witness = createServer((_, response) => response.writeHead(up ? 204 : 503).end());
    await new Promise<void>((resolve) => witness.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(witness.address() as AddressInfo).port}/`;
  });
  afterEach(() => witness.close());
  const fencing = (): OwnSite => dark({ selfFenceMs: MINUTE }, { witnessUrl: url });
  const guardOf = (site: OwnSite): SiteGuard => new SiteGuard(site.settings, customerOf(site), world.westDb, () => now);
  const lookedAt = async (site: OwnSite): Promise<Seen> => {
    const eyes = new Eyes(site.settings, 0);
    try {
      const manner = { least: 0, spared: null };
      return (await lookAround(eyes, eyes.of(customerOf(site)), manner, new AbortController().signal)).seen;
    } finally {
      eyes.close();
    }
  };
  const tellClosing = async (): Promise<string | null> => {
    const closing = await closingOf(world.westDb, CUSTOMER);
    return closing && `${closing.kind}: ${closing.because}`;
  };
  const rounds = async (guard: SiteGuard, site: OwnSite, n: number): Promise<string> => {
    const lines: string[] = [];
    for (let i = 0; i < n; i += 1) {
      now += 10_000;
      lines.push(...(await guard.round(await lookedAt(site))));
    }
    return lines.join('\n');
  };

  it('closes a site that sees neither peer nor witness for so long; one look at the witness keeps it open', async () => {
    const site = fencing();
    const guard = guardOf(site);
    expect([await rounds(guard, site, 8), await serves()]).toEqual(['', 2]);
    up = false; // It answers, and not as a witness does.
    expect([await rounds(guard, site, 5), await serves()]).toEqual(['', 2]);
    expect(await rounds(guard, site, 1)).toMatch(/CLOSED: neither its peer nor the witness was seen for 1 min/);
    expect([await closedAs(), await serves()]).toEqual(['cut-off', 0]);
    // The witness alone opens nothing; the peer does.
    up = true;
    await rounds(guard, site, 2);
    expect(await closedAs()).toBe('cut-off');
    const back = world.westWith({ customer: { selfFenceMs: MINUTE } });
    expect(await rounds(guardOf(back), back, 1)).toBe('');
    await confirmedFor(7);
    expect(await rounds(guardOf(back), back, 1)).toMatch(/opened: its peer holds the same epoch/);
    expect(await serves()).toBe(2);
  });

  it('closes no site of which another worker sees the witness', async () => {
    const site = fencing();
    const [cutOff, other] = [guardOf(site), guardOf(site)];
    for (let i = 0; i < 8; i += 1) {
      up = false;
      expect(await rounds(cutOff, site, 1)).toBe('');
      up = true;
      await rounds(other, site, 1);
    }
    up = false;
    expect(await rounds(cutOff, site, 6)).toBe('');
    expect(await rounds(cutOff, site, 1)).toMatch(/CLOSED/);
  });

  it('is off where it is not configured, and closes nobody where nobody is served', async () => {
    const off = dark();
    await rounds(guardOf(off), off, 12);
    expect(await closedAs()).toBeNull();
    up = false;
    const site = fencing();
    await world.westDb.query(`update tandem.epoch set number = 2, site = 'east', move = 'theirs'`);
    await rounds(guardOf(site), site, 7);
    expect(await closedAs()).toBeNull();
  });

  it('sees a peer whose database alone is gone by its vault, and not by what would tell of no newer epoch', async () => {
    up = false;
    const api = createServer((_, response) => response.writeHead(503).end());
    await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve));
    const at = `http://127.0.0.1:${(api.address() as AddressInfo).port}/`;
    const services = new Map([['east', { clients: '127.0.0.1:9', api: at, outsideCheck: null }]]);
    const site = dark({ selfFenceMs: MINUTE }, { services });
    try {
      await rounds(guardOf(site), site, 8);
      expect(await closedAs()).toBe('cut-off');
      await world.westDb.query('delete from tandem.closed');
      const withVault = dark({ selfFenceMs: MINUTE }, { services, peerVaults: world.settings.peerVaults });
      await rounds(guardOf(withVault), withVault, 8);
      expect(await closedAs()).toBeNull();
    } finally {
      api.close();
    }
  });

  it('does not undo what two operators have opened in the dark, until somebody was seen again', async () => {
    up = false;
    const site = fencing();
    const guard = guardOf(site);
    await rounds(guard, site, 6);
    await say(await word('al'));
    expect(await say(await word('bo'))).toBe('opened by al, bo');
    await rounds(guard, site, 8);
    expect([await closedAs(), await serves()]).toEqual([null, 2]);
    up = true;
    await rounds(guard, site, 1);
    up = false;
    await rounds(guard, site, 6);
    expect(await closedAs()).toBe('cut-off');
  });

  describe('without a worker', () => {
    const since = (ms: number): Promise<unknown> =>
      world.westDb.query(`update tandem.alive set saw_at = clock_timestamp() - make_interval(secs => $1)`, [ms / 1000]);

    it('closes all the same, by when somebody was last seen; a start of one, or a look at nobody, makes that no longer', async () => {
      const site = fencing();
      await rounds(guardOf(site), site, 1);
      await since(MINUTE - 10_000);
      expect([await serves(), await tellClosing()]).toEqual([2, null]);
      up = false;
      await rounds(guardOf(site), site, 1);
      expect(await serves()).toBe(2);
      const [row] = await world.westDb.query(
        'select from tandem.alive where saw_at < clock_timestamp() - $1::interval',
        ['50 s'],
      );
      expect(row).toBeDefined();
      await since(MINUTE + 1000);
      expect([await serves(), await world.westDb.query('select from tandem.closed')]).toEqual([0, []]);
      expect(await tellClosing()).toMatch(/^cut-off: no worker here has seen its peer or the witness for 1 min/);
      expect(await rounds(guardOf(site), site, 1)).toMatch(/CLOSED: nobody here saw its peer or the witness for 1 min/);
      expect([await closedAs(), await serves()]).toEqual(['cut-off', 0]);
    });

    it('and goes on serving nobody when one sees somebody again, until the peer confirms it', async () => {
      const site = fencing();
      await rounds(guardOf(site), site, 1);
      await since(MINUTE + 1000);
      expect(await rounds(guardOf(site), site, 1)).toMatch(/CLOSED/);
      await rounds(guardOf(site), site, 1);
      expect([await closedAs(), await serves()]).toEqual(['cut-off', 0]);
      const back = world.westWith({ customer: { selfFenceMs: MINUTE } });
      await rounds(guardOf(back), back, 1);
      await confirmedFor(7);
      expect(await rounds(guardOf(back), back, 1)).toMatch(/opened: its peer holds the same epoch/);
      expect(await serves()).toBe(2);
    });

    it('counts from when it is configured, whoever was seen before', async () => {
      const off = world.westWith({});
      await rounds(guardOf(off), off, 1);
      up = false;
      const site = fencing();
      await rounds(guardOf(site), site, 1);
      expect(await serves()).toBe(2);
      await since(MINUTE + 1000);
      expect(await serves()).toBe(0);
    });

    it('serves nobody by a clock that was set by more, and whom it is not configured for goes on', async () => {
      const site = fencing();
      await rounds(guardOf(site), site, 1);
      await since(-2 * MINUTE);
      expect(await serves()).toBe(0);
      await since(2 * MINUTE);
      const off = dark();
      await rounds(guardOf(off), off, 1);
      await world.westDb.query('delete from tandem.closed');
      expect(await serves()).toBe(2);
      await since(2 * MINUTE);
      expect(await serves()).toBe(2);
    });
  });
});
