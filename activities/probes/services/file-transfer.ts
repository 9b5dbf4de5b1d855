import { createHash, randomBytes } from 'node:crypto';
import { xml } from '@xmpp/client';
import type { Facts } from './port.ts';
import { bodyOf, type ProbeRun } from './run.ts';
import type { Stanza } from './session.ts';

const NS_UPLOAD = 'urn:xmpp:http:upload:0';
const TYPE = 'application/octet-stream';
/** Small: the service keeps it for as long as it keeps files. */
const BYTES = 16 * 1024;

/** A file is put into a slot of the service, its address sent to another user, and what he gets is equal byte by byte. */
export async function fileTransfer(run: ProbeRun): Promise<Facts> {
  const { first, second } = run.order.accounts;
  const [from, to] = await Promise.all([run.signIn('account 1', first), run.signIn('account 2', second)]);
  const file = randomBytes(BYTES);
  const service = await run.expect('a service that takes files', () => findUpload(run, from.ask.bind(from)));
  const size = String(file.length);
  const request = xml('request', { xmlns: NS_UPLOAD, filename: 'tandem-probe.bin', size, 'content-type': TYPE });
  const slot = await run.expect('a slot for a file', async () =>
    (await from.ask('get', request, service)).getChild('slot'),
  );
  const put = slot?.getChild('put');
  const address = String(slot?.getChild('get')?.attrs['url'] ?? '');
  const headers = (put?.getChildren('header') ?? []).map((h): [string, string] => [String(h.attrs['name']), h.text()]);
  await run.expect('the file to be taken', async () => {
    const url = String(put?.attrs['url'] ?? '');
    // Fetch's own rule: these bytes are nobody else's.
    const body = new Uint8Array(file);
    const { status } = await fetch(url, {
      method: 'PUT',
      body,
      headers: [['content-type', TYPE], ...headers],
      signal: run.limit,
    });
    if (status !== 200 && status !== 201) throw new Error(`HTTP ${status}`);
  });
  from.tell(to.jid, address);
  await run.hears(to, 'the address of the file to arrive at account 2', (stanza) => bodyOf(stanza) === address);
  await run.expect('account 2 to get the same bytes', async () => {
    const response = await fetch(address, { signal: run.limit });
    const got = Buffer.from(await response.arrayBuffer());
    if (response.status !== 200) throw new Error(`HTTP ${response.status}`);
    const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
    if (digest(got) !== digest(file)) throw new Error(`${got.length} other bytes`);
  });
  return { bytes: BYTES };
}

/** Services of the domain that say they take files (XEP-0363 by XEP-0030). */
async function findUpload(
  run: ProbeRun,
  ask: (type: 'get', child: Stanza, to: string) => Promise<Stanza>,
): Promise<string> {
  const { domain } = run.order.target;
  const listed = await ask('get', xml('query', { xmlns: 'http://jabber.org/protocol/disco#items' }), domain);
  const items = (listed.getChild('query')?.getChildren('item') ?? []).map((item) => String(item.attrs['jid']));
  for (const item of items) {
    const info = await ask('get', xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' }), item).catch(
      () => null,
    );
    const features = info?.getChild('query')?.getChildren('feature') ?? [];
    if (features.some((feature) => feature.attrs['var'] === NS_UPLOAD)) return item;
  }
  throw new Error(`none among the ${items.length} of the domain`);
}
