import { openBulk } from '../../activities/contacts/bulk.ts';
import { failureToPlain, fromPlain, type FromMover, type ToMover } from '../../activities/mover/messages.ts';
import { Cleaner } from '../../activities/vault/cleaner.ts';
import { deleteExpired } from '../../activities/vault/delete-expired.ts';
import { S3Vault } from '../../activities/vault/s3.ts';

/** A data mover that does its one job, the deletion of what is past its keeping, as if 50 days had gone by. */
const LATER_MS = 50 * 24 * 3_600_000;

async function perform({ settings, input }: Extract<ToMover, { start: unknown }>['start']): Promise<unknown> {
  const { cleaner, ...site } = fromPlain(settings);
  if (!cleaner) throw new Error('no cleaner');
  const { customer } = input as { customer: string };
  const bulk = openBulk({ ...site, cleaner });
  const { peer, sites } = bulk.customer(customer);
  const theirs = site.peerVaults.get(peer);
  return deleteExpired({
    mode: 'delete',
    cleaner: new Cleaner(cleaner),
    vault: bulk.vault,
    peer: theirs ? new S3Vault(theirs) : null,
    database: bulk.database(customer),
    customer,
    site: site.site,
    sites,
    publicKeys: site.publicKeys,
    now: () => Date.now() + LATER_MS,
    heartbeat: () => undefined,
    signal: new AbortController().signal,
  });
}

async function run(start: Extract<ToMover, { start: unknown }>['start']): Promise<void> {
  const done = (word: FromMover): void => void process.send?.(word, () => process.exit(0));
  try {
    done({ result: await perform(start), peakBytes: 0 });
  } catch (error) {
    done({ failure: failureToPlain(error) });
  }
}

process.on('disconnect', () => process.exit(1));
process.on('message', (message: ToMover) => {
  if ('start' in message) void run(message.start);
});
