import { readFile, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeRequest } from '../../activities/traffic/dns-message.ts';
import { replaced, update } from '../../activities/traffic/dns-server.ts';
import { dnsSwitch } from '../../activities/traffic/dns.ts';
import { ask } from '../../activities/traffic/stream.ts';
import { findBind } from '../../ops/reference-service/bind.ts';
import { kindOf } from '../failover-acts/world.ts';
import { nameServer, never, removeFolder, scratchFolder, ZONE, type NameServer } from '../traffic/ends.ts';

/** The name server of the reference service, as it is started: what it holds, and what it keeps to itself. */

let folder: string;
let end: NameServer;
const TXT = 16;
const AXFR = 252;

// A real bind9 is not on every machine: root on Debian gets it by `npm test` itself, and CI is that.
describe.skipIf(findBind() === null)('bind9 of the reference service', () => {
  beforeAll(async () => {
    folder = await scratchFolder();
    end = await nameServer(folder);
  });
  afterAll(async () => {
    await end.close();
    await removeFolder(folder);
  });

  it('holds what it has answered, killed with -9 and started again', async () => {
    const epoch = { number: 2, site: 'west', move: 'm' };
    await dnsSwitch(end.dns).shift({ customer: 'contoso', epoch, to: ['west'] }, never);
    await end.killed();
    expect([await end.epoch(), await end.leads()]).toEqual([['2 west m'], ['west']]);
  });

  it('has its keys in a file of its own, closed to others, and runs without rights', async () => {
    const home = join(folder, 'data', 'names', 'bind');
    expect((await stat(join(home, 'keys.conf'))).mode & 0o777).toBe(0o600);
    expect((await stat(home)).mode & 0o777).toBe(0o700);
    expect(await readFile(join(home, 'named.conf'), 'utf8')).not.toContain(end.dns.key.secret.toString('base64'));
    const status = await readFile(`/proc/${end.process.pid}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\s+[1-9]/m);
    expect(status).toMatch(/^CapEff:\s+0+$/m);
  });

  it('listens on loopback only', async () => {
    const port = Number(end.dns.server.split(':')[1]);
    const others = Object.values(networkInterfaces()).flatMap((all) => all?.filter((i) => !i.internal) ?? []);
    for (const { address } of others) {
      const socket = connect(port, address);
      await new Promise<void>((resolve, reject) => {
        socket.once('error', () => resolve());
        socket.once('connect', () => reject(new Error(`${address} answers`)));
      });
    }
    expect(await end.epoch()).toHaveLength(1);
  });

  it('has a partner’s zone, which never changes', async () => {
    expect(await end.resolver.resolveSrv('_xmpp-server._tcp.partner.example')).toMatchObject([{ port: 5269 }]);
    const partner = { ...end.dns, zone: 'partner.example' };
    const change = { requires: [], changes: replaced('xmpp.partner.example', TXT, 5, []) };
    expect(await kindOf(update(partner, change, { signal: never }))).toBe('dns-refused');
  });

  it('answers for no other zone, looks nowhere else, and hands none out', async () => {
    await expect(end.resolver.resolve4('elsewhere.example')).rejects.toMatchObject({ code: 'EREFUSED' });
    const question = { name: ZONE, type: AXFR };
    const asked = encodeRequest({ id: 7, opcode: 0, question, first: [], second: [] });
    const whole = (b: Buffer): boolean => b.length > 2 && b.length >= 2 + b.readUInt16BE(0);
    const framed = Buffer.concat([Buffer.from([0, asked.length]), asked]);
    const reply = await ask(end.dns.server, framed, { limitMs: 2000, mostBytes: 70_000, whole, signal: never });
    const [rcode, answers] = [reply.readUInt8(5) & 15, reply.readUInt16BE(8)];
    expect([rcode, answers]).toEqual([5, 0]);
  });
});
