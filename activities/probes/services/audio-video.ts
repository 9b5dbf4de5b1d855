import { randomFillSync, randomUUID } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { xml } from '@xmpp/client';
import { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters, RtpHeader, RtpPacket } from 'werift';
import type { Facts } from './port.ts';
import type { ProbeRun } from './run.ts';
import type { Session } from './session.ts';

const NS_SERVICES = 'urn:xmpp:extdisco:2';
const NS_JINGLE = 'urn:xmpp:jingle:1';
const BINDING = { request: 0x0001, success: 0x0101, cookie: 0x2112a442 } as const; // RFC 5389
const ASK_AGAIN_MS = 300;
/** One every 20 ms, as telephones do. */
const PACKET_MS = 20;
const PACKETS = 25;

interface Offered {
  type: string;
  host: string;
  port: string;
  transport: string;
  username?: string;
  password?: string;
}

/**
 * A call between two users: signalled through the service, its packets sent through the site's relay by short-lived
 * credentials of the service, and arriving. Without a relay, by what the users can do between themselves.
 */
export async function audioVideo(run: ProbeRun): Promise<Facts> {
  const { first, second } = run.order.accounts;
  const [caller, callee] = await Promise.all([run.signIn('account 1', first), run.signIn('account 2', second)]);
  const { domain } = run.order.target;
  const [ours, theirs] = await run.expect('STUN and TURN services with credentials', () =>
    Promise.all([offeredTo(caller, domain), offeredTo(callee, domain)]),
  );
  const stun = ours.find(({ type, transport }) => type === 'stun' && transport === 'udp');
  const stunMs = stun ? await run.expect('an answer to a STUN binding request', () => binds(run, stun)) : 0;
  const began = performance.now();
  const connections = await run.expect('a relay with credentials for both users', async () => {
    if (!run.order.relay) return [connection(null), connection(null)] as const;
    return [connection(relayOf(ours)), connection(relayOf(theirs))] as const;
  });
  try {
    const packets = await talk(run, [caller, callee], connections);
    return { relayed: run.order.relay, stunMs, callMs: Math.round(performance.now() - began), packets };
  } finally {
    for (const each of connections) await each.close().catch(() => undefined);
  }
}

/** By XEP-0215. */
async function offeredTo(session: Session, domain: string): Promise<Offered[]> {
  const answer = await session.ask('get', xml('services', { xmlns: NS_SERVICES }), domain);
  return (answer.getChild('services')?.getChildren('service') ?? []).map((s) => s.attrs as unknown as Offered);
}

function relayOf(offered: readonly Offered[]): Offered {
  const relay = offered.find(({ type, transport }) => type === 'turn' && transport === 'udp');
  if (!relay) throw new Error(`none among ${offered.length} services`);
  if (!relay.username || !relay.password) throw new Error('one without credentials');
  return relay;
}

/** ms until the server said under which address it sees us. */
async function binds(run: ProbeRun, { host, port }: Offered): Promise<number> {
  const request = Buffer.alloc(20);
  request.writeUInt16BE(BINDING.request, 0);
  request.writeUInt32BE(BINDING.cookie, 4);
  randomFillSync(request, 8);
  const socket = createSocket('udp4');
  const began = performance.now();
  const send = (): void => socket.send(request, Number(port), host);
  const again = setInterval(send, ASK_AGAIN_MS); // UDP may lose it.
  try {
    return await new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.on('message', (answer) => {
        if (answer.subarray(4, 20).equals(request.subarray(4)) && answer.readUInt16BE(0) === BINDING.success)
          resolve(Math.round(performance.now() - began));
      });
      run.limit.addEventListener('abort', () => reject(new Error('nothing')), { once: true });
      send();
    });
  } finally {
    clearInterval(again);
    socket.close();
  }
}

function connection(relay: Offered | null): RTCPeerConnection {
  const urls = `turn:${relay?.host}:${relay?.port}`;
  const { username, password } = relay ?? {};
  const loopback = relay === null || relay.host.startsWith('127.');
  return new RTCPeerConnection({
    iceServers: relay ? [{ urls, ...(username && { username }), ...(password && { credential: password }) }] : [],
    iceTransportPolicy: relay ? 'relay' : 'all',
    iceUseIpv6: false,
    ...(loopback && { iceAdditionalHostAddresses: ['127.0.0.1'] }),
    codecs: {
      audio: [new RTCRtpCodecParameters({ mimeType: 'audio/PCMU', clockRate: 8000, channels: 1, payloadType: 0 })],
    },
  });
}

/** Offer and answer go through the service, as the users' clients would send them; answers how many packets arrived. */
async function talk(
  run: ProbeRun,
  [caller, callee]: readonly [Session, Session],
  [calling, called]: readonly [RTCPeerConnection, RTCPeerConnection],
): Promise<number> {
  const track = new MediaStreamTrack({ kind: 'audio' });
  calling.addTransceiver(track, { direction: 'sendonly' });
  const received = { packets: 0 };
  called.onTrack.subscribe((t) => t.onReceiveRtp.subscribe(() => void (received.packets += 1)));
  const sid = randomUUID();
  callee.answers(NS_JINGLE, 'jingle', async (element) => {
    if (element.attrs['sid'] !== sid) return undefined;
    await called.setRemoteDescription({ type: 'offer', sdp: element.getChildText('sdp') ?? '' });
    await called.setLocalDescription(await called.createAnswer());
    const sdp = called.localDescription?.sdp ?? '';
    return xml('jingle', { xmlns: NS_JINGLE, action: 'session-accept', sid }, xml('sdp', {}, sdp));
  });
  const offer = await run.expect('the relay to give the caller an address', async () => {
    await calling.setLocalDescription(await calling.createOffer());
    const sdp = calling.localDescription?.sdp ?? '';
    if (run.order.relay && !sdp.includes('typ relay')) throw new Error('none');
    return sdp;
  });
  const answered = await run.expect('the call to be accepted by account 2', () => {
    const call = xml('jingle', { xmlns: NS_JINGLE, action: 'session-initiate', sid }, xml('sdp', {}, offer));
    return caller.ask('set', call, callee.jid);
  });
  const sdp = answered.getChild('jingle')?.getChildText('sdp') ?? '';
  const sending = setInterval(sender(track), PACKET_MS);
  try {
    await run.expect(
      `${PACKETS} packets of the call to arrive at account 2`,
      async () => {
        await calling.setRemoteDescription({ type: 'answer', sdp });
        while (received.packets < PACKETS) await new Promise((resolve) => setTimeout(resolve, PACKET_MS));
      },
      () => `${received.packets}`,
    );
  } finally {
    clearInterval(sending);
  }
  return received.packets;
}

function sender(track: MediaStreamTrack): () => void {
  let sequenceNumber = 0;
  return () => {
    sequenceNumber += 1;
    const header = new RtpHeader({
      payloadType: 0,
      sequenceNumber,
      timestamp: sequenceNumber * 160,
      ssrc: 1,
      marker: false,
    });
    track.writeRtp(new RtpPacket(header, Buffer.alloc(160, sequenceNumber & 255)));
  };
}
