import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { addressData, srvData, txtData, types } from '../../activities/traffic/dns-message.ts';
import { offer, readToken } from '../../activities/traffic/dns-epoch.ts';
import { replaced, update } from '../../activities/traffic/dns-server.ts';
import { dnsSwitch } from '../../activities/traffic/dns.ts';
import type { DnsSettings, TsigKey } from '../../activities/settings.ts';
import { findBind } from '../../ops/reference-service/bind.ts';
import type { Epoch } from '../../workflows/model/epoch.ts';
import type { StepResult } from '../../workflows/model/moves.ts';
import { kindOf } from '../failover-acts/world.ts';
import { nameServer, never, newKey, removeFolder, scratchFolder, SERVICE, ZONE, type NameServer } from './ends.ts';
import { relayTo, signedAgain, type Relay } from './relay.ts';

/** A real bind9, updated by two sites: what the name server itself refuses, and whom of its answers Tandem believes. */

let folder: string;
let end: NameServer;
let relay: Relay;
const epochName = `_epoch.${ZONE}`;

const at = (number: number, site = 'west', move = `move-${number}-${site}`): Epoch => ({ number, site, move });
const shift = (dns: DnsSettings, epoch: Epoch, to: string[] = [epoch.site]): Promise<StepResult> =>
  dnsSwitch(dns).shift({ customer: 'contoso', epoch, to }, never);
/** Somebody with the key, at his own keyboard. */
const byHand = (name: string, type: number, data: Buffer[], ttl = 30): Promise<boolean> =>
  update(end.dns, { requires: [], changes: replaced(name, type, ttl, data) }, { signal: never });
const setEpoch = (...texts: string[]): Promise<boolean> => byHand(epochName, types.TXT, texts.map(txtData));
const through = (dns: DnsSettings = end.dns): DnsSettings => ({ ...dns, server: relay.address });

// A real bind9 is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(findBind() === null)('a name server', () => {
  beforeAll(async () => {
    folder = await scratchFolder();
    end = await nameServer(folder);
  });
  afterAll(async () => {
    await end.close();
    await removeFolder(folder);
  });
  beforeEach(async () => {
    relay = await relayTo(Number(end.dns.server.split(':')[1]));
    await setEpoch();
    await end.byHand(['east', 'west']);
  });
  afterEach(() => relay.close());

  describe('refuses by itself', () => {
    it.each<[string, string[], Buffer[]]>([
      ['who has read an older epoch', ['3 east later'], [txtData('1 west before')]],
      ['who has read none', ['3 east later'], []],
      ['who has read one, where none stands any more', [], [txtData('1 west before')]],
      ['who has read one of two', ['1 west before', '3 east later'], [txtData('1 west before')]],
      ['who has read the same number of another move', ['2 east theirs'], [txtData('2 west ours')]],
    ])('%s', async (_, stands, held) => {
      await setEpoch(...stands);
      const [epoch, leads] = [await end.epoch(), await end.leads()];
      const records = replaced(SERVICE, types.SRV, 30, [srvData(10, 50, 5222, `xmpp-west.${ZONE}`)]);
      expect(await offer(end.dns, at(9), { held }, records, { signal: never })).toBe(false);
      expect([await end.epoch(), await end.leads()]).toEqual([epoch, leads]);
    });

    it('a change of anything but the records and `_epoch`, by their key', async () => {
      for (const [name, type, data] of [
        ['other.contoso.example', types.TXT, txtData('x')],
        [ZONE, types.A, addressData('192.0.2.9')],
        [SERVICE, types.TXT, txtData('x')],
      ] as const)
        expect(await kindOf(byHand(name, type, [data]))).toBe('dns-refused');
    });

    it('whoever has no key, or the wrong one', async () => {
      for (const key of [
        newKey('tandem-west'),
        newKey('nobody'),
        { ...end.dns.key, algorithm: 'hmac-sha512' } satisfies TsigKey,
      ]) {
        const dns = { ...end.dns, key };
        const error: unknown = await shift(dns, at(2)).catch((e: unknown) => e);
        expect(error).toMatchObject({ type: 'dns-key-refused', nonRetryable: true });
        expect(await kindOf(dnsSwitch(dns).prove(never))).toBe('dns-key-refused');
      }
      expect(await end.epoch()).toEqual([]);
    });
  });

  describe('is not changed', () => {
    it.each([
      ['a higher epoch', '3 east theirs'],
      ['an equal one of another move', '2 west another'],
      ['an equal one of another site', '2 east move-2-west'],
      ['a higher one that a hand wrote', '7'],
      ['an equal one that a hand wrote', '2'],
    ])('where it holds %s', async (_, stands) => {
      await setEpoch(stands);
      expect(await kindOf(shift(end.dns, at(2)))).toBe('epoch-superseded');
      expect([await end.epoch(), await end.leads()]).toEqual([[stands], ['east', 'west']]);
    });

    it('by a name server that has not the zone, or may not change it', async () => {
      expect(await kindOf(shift({ ...end.dns, zone: 'other.example' }, at(2)))).toBe('dns-lame');
      expect(await kindOf(shift({ ...end.dns, zone: 'partner.example' }, at(2)))).toBe('dns-refused');
    });

    it('while the clocks are apart: it is said by how much', async () => {
      const now = (): number => Date.now() + 1_000_000;
      await expect(readToken(end.dns, { signal: never, now })).rejects.toMatchObject({
        type: 'clock-wrong',
        message: expect.stringMatching(/its clock is (999|1000|1001) s behind this machine’s/) as unknown,
      });
    });
  });

  describe('is changed', () => {
    it.each([
      ['where it holds a lower epoch', ['1 east theirs'], false],
      ['where a hand has taken the epoch away', [], false],
      ['where a hand has written something else', ['do not touch!'], true],
      ['where a hand has written more beside it', ['1 east theirs', 'v=spf1 -all'], true],
      ['where it holds what nobody can have claimed', ['999999999999999 east theirs'], true],
      ['where it holds more than fits into 512 bytes', ['a', 'b', 'c'].map((c) => c.repeat(250)), true],
    ])('%s', async (_, stands, told) => {
      await setEpoch(...stands);
      const { alarms } = await shift(end.dns, at(2));
      expect([await end.epoch(), await end.leads()]).toEqual([['2 west move-2-west'], ['west']]);
      expect(alarms ?? []).toHaveLength(told ? 1 : 0);
    });

    it('home again by the other site, under the next epoch and its own key', async () => {
      await shift(end.dns, at(2));
      await shift(end.east, at(3, 'east'), ['east', 'west']);
      expect([await end.epoch(), await end.leads()]).toEqual([['3 east move-3-east'], ['east', 'west']]);
    });

    it('although its records were long-lived: that is an alarm, and was no proof before', async () => {
      await byHand(SERVICE, types.SRV, [srvData(10, 50, 5222, `xmpp-east.${ZONE}`)], 3600);
      await expect(dnsSwitch(end.dns).prove(never)).rejects.toMatchObject({
        type: 'dns-slow',
        message: `${SERVICE} SRV has a ttl of 3600 s, limit 60 s`,
      });
      expect(await shift(end.dns, at(2))).toMatchObject({ alarms: [expect.stringContaining('a ttl of 3600 s')] });
      expect(await dnsSwitch(end.dns).prove(never)).toContain('answers for');
    });

    it('or it is said that the records are not as they were to be: a name that is another’s alias holds none', async () => {
      const www = { kind: 'address' as const, name: `www.${ZONE}`, addresses: new Map([['west', ['192.0.2.2']]]) };
      await expect(shift({ ...end.dns, records: [www] }, at(2))).rejects.toMatchObject({
        type: 'traffic-differs',
        message: expect.stringContaining(`www.${ZONE} A differ after the update`) as unknown,
      });
    });
  });

  describe('between two movers', () => {
    /** Does `meanwhile` when the first update is on its way, already behind its reading. */
    const whileOnItsWay = (meanwhile: () => Promise<unknown>): void => {
      relay.onRequest = async (opcode) => {
        if (opcode !== 5) return;
        relay.onRequest = () => Promise.resolve();
        await meanwhile();
      };
    };

    it('goes with the newer one, which was faster', async () => {
      whileOnItsWay(() => shift(end.east, at(3, 'east')));
      expect(await kindOf(shift(through(), at(2)))).toBe('epoch-superseded');
      expect([await end.epoch(), await end.leads()]).toEqual([['3 east move-3-east'], ['east']]);
    });

    it('goes with the newer one, which was slower', async () => {
      whileOnItsWay(() => shift(end.east, at(2, 'east')));
      await shift(through(), at(3));
      expect([await end.epoch(), await end.leads()]).toEqual([['3 west move-3-west'], ['west']]);
    });

    it('goes with the first of two moves with one number', async () => {
      whileOnItsWay(() => shift(end.east, at(2, 'east')));
      expect(await kindOf(shift(through(), at(2)))).toBe('epoch-superseded');
      expect(await end.leads()).toEqual(['east']);
    });

    it('goes with the newest of many at once, and its records are that one’s', async () => {
      const movers = Array.from({ length: 8 }, (_, i) => at(i + 2, i % 2 === 0 ? 'east' : 'west'));
      const kinds = await Promise.all(movers.map((e) => kindOf(shift(e.site === 'east' ? end.east : end.dns, e))));
      expect(kinds.at(-1)).toBe('no failure');
      expect(kinds.filter((k) => !['no failure', 'epoch-superseded', 'traffic-differs'].includes(k))).toEqual([]);
      expect([await end.epoch(), await end.leads()]).toEqual([['9 west move-9-west'], ['west']]);
    });
  });

  describe('is believed only', () => {
    const flip = (bytes: Buffer, i: number, bits = 1): Buffer => {
      bytes[i] = (bytes[i] ?? 0) ^ bits;
      return bytes;
    };
    const unsigned = (reply: Buffer): Buffer => {
      const cut = reply.subarray(0, reply.lastIndexOf(Buffer.from('\x0btandem-west', 'latin1')));
      cut.writeUInt16BE(cut.readUInt16BE(10) - 1, 10);
      return cut;
    };
    it.each<[string, (reply: Buffer) => Buffer]>([
      ['with its own result', (reply) => flip(reply, 3, 8)],
      ['with its own signature', (reply) => flip(reply, reply.length - 20)],
      ['with its own time', (reply) => flip(reply, reply.lastIndexOf('\x0bhmac-sha256\0') + 18)],
      ['when it signs', unsigned],
      ['when it signs, whatever it says', (reply) => flip(unsigned(reply), 3, 5)],
      ['in answers to what was asked now', () => relay.replies[0] ?? Buffer.alloc(0)],
      ['in whole answers', (reply) => reply.subarray(0, 40)],
      ['in answers that can be read', () => Buffer.alloc(60, 0xc0)],
    ])('%s', async (_, onReply) => {
      await readToken(through(), { signal: never });
      relay.onReply = onReply;
      const error: unknown = await shift(through(), at(2)).catch((e: unknown) => e);
      expect(error).toMatchObject({ type: 'dns-unproven', nonRetryable: false });
      relay.onReply = (reply) => reply;
      await shift(through(), at(2));
      expect(await end.leads()).toEqual(['west']);
    });

    it('also of what it has done: a refusal that was made an agreement is none', async () => {
      await setEpoch('1 east theirs');
      relay.onRequest = async (opcode) => void (opcode === 5 && (await setEpoch('5 east later')));
      relay.onReply = (reply) => ((((reply[2] ?? 0) >> 3) & 15) === 5 ? flip(reply, 3, reply[3] ?? 0) : reply);
      expect(await kindOf(shift(through(), at(2)))).toBe('dns-unproven');
      expect(await end.epoch()).toEqual(['5 east later']);
    });
  });

  describe('that proves who it is, and answers', () => {
    const answering = (bytes: [number, number][]): void => {
      relay.onReply = (reply, request) => {
        for (const [i, value] of bytes) reply[i] = value;
        return signedAgain(reply, request, end.dns.key);
      };
    };
    // Octets 2 and 3 of a message: QR, opcode, AA, TC, RD; RA, Z, rcode. Octet 13 is the first letter of what was asked.
    it.each<[string, [number, number][], string, RegExp]>([
      ['what it has from others', [[2, 0x80]], 'dns-lame', /does not answer for zone contoso\.example/],
      ['a part of it', [[2, 0x86]], 'dns-unproven', /its answer is cut off/],
      ['another question', [[13, 0x78]], 'dns-unproven', /something that was not asked/],
      ['another request', [[2, 0xac]], 'dns-unproven', /something that was not asked/],
      ['no answer but a question', [[2, 0x04]], 'dns-unproven', /something that was not asked/],
      [
        'FORMERR',
        [[3, 1]],
        'dns-refused',
        /it answers FORMERR to a question of zone contoso\.example by key tandem-west/,
      ],
      ['SERVFAIL', [[3, 2]], 'dns-unreachable', /SERVFAIL/],
      ['REFUSED', [[3, 5]], 'dns-lame', /REFUSED to a question/],
      ['NOTAUTH', [[3, 9]], 'dns-lame', /NOTAUTH/],
      ['NOTZONE', [[3, 10]], 'dns-lame', /NOTZONE/],
      ['what nobody knows', [[3, 15]], 'dns-refused', /RCODE15/],
    ])('%s', async (_, bytes, type, message) => {
      answering(bytes);
      await expect(shift(through(), at(2))).rejects.toMatchObject({
        type,
        message: expect.stringMatching(message) as unknown,
      });
      answering([]);
      await shift(through(), at(2));
    });
  });
});
