import type { Command } from 'commander';
import { examineSnapshot, type Examination } from '../../activities/vault/examine.ts';
import { Fault } from '../fault.ts';
import { counted, type Context } from './print.ts';
import { chosenId, onShelf, progress, sequence, verbOn, type OpenShelf, type Where } from './shelf.ts';

export function registerVerify(group: Command, context: Context): void {
  verbOn(group, 'verify', 'open every byte of one, name all damage, and write nothing')
    .option('--seq <number>', 'its number, as `snapshot list` shows it (default: the newest)', sequence)
    .action((o: Where & { seq?: number }) => onShelf(context, o, (open) => verify(context, open, o.seq)));
}

async function verify(context: Context, open: OpenShelf, seq: number | undefined): Promise<void> {
  const { vault, publicKeys, site } = open.shelf;
  const id = await chosenId(open, seq);
  const tell = progress(context);
  const found = await examineSnapshot({
    vault,
    id,
    keys: open.keys,
    publicKeys,
    heartbeat: ({ packs, of, users }) => tell(() => `${packs} of ${of} packs opened, ${users} users`),
    signal: context.signal,
  });
  const { snapshot, damage, readable, stale } = found;
  context.out.answer({ vault: vault.site, whole: damage.length === 0, ...found }, told(vault.site, found));
  if (damage.length === 0) return;
  const [lost, other] = [snapshot.counts.users - readable.users, vault.site === site ? open.peer : site];
  throw new Fault(
    `snapshot ${id.seq} of ${site} in the vault of ${vault.site}: damaged in ${counted(damage.length, 'place')}, ${lost} of ${counted(snapshot.counts.users, 'user')} cannot be read${stale ? ', others only as they were before a change that is lost' : ''}`,
    `\`tandem snapshot verify --site ${other} --of ${site} --seq ${id.seq}\` tells whether the copy in the vault of ${other} is whole.`,
  );
}

function told(at: string, { snapshot, damage, readable, packs }: Examination): string[] {
  const { seq, site, point, bytes } = snapshot;
  const { users, contacts, groups, aclItems } = readable;
  if (damage.length > 0) return damage.map(({ object, because }) => `${object}: ${because}`);
  return [
    `Snapshot ${seq} of ${site} in the vault of ${at}, recovery point ${point}, is whole.`,
    `  ${counted(packs, 'pack')}, ${bytes} bytes, every one opened: ${users} users, ${contacts} contacts, ${groups} groups, ${aclItems} ACL items, as its manifest says.`,
  ];
}
