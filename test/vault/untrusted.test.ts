import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { S3Vault } from '../../activities/vault/s3.ts';
import { newAuthority, newServer } from '../rig/certificates.ts';

it('a vault with a certificate of an authority that nobody here knows is told as that, with what helps', async () => {
  const { key, cert } = newServer(newAuthority('our own'));
  const server = createServer({ key, cert }, (_, response) => response.end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const access = { site: 'east', endpoint: `https://127.0.0.1:${port}`, region: 'us-east-1', bucket: 'tandem-east' };
  const vault = new S3Vault({ ...access, accessKeyId: 'a', secretAccessKey: 'b' });
  const listing = async (): Promise<void> => {
    for await (const _ of vault.list('x/', { signal: AbortSignal.timeout(8000) })) break;
  };
  try {
    await expect(listing()).rejects.toThrow(
      /^vault east: list x\/…: its certificate is signed by nobody who is trusted \([A-Z_]+\); NODE_EXTRA_CA_CERTS=FILE, /,
    );
  } finally {
    server.close();
    server.closeAllConnections();
  }
}, 20_000);
