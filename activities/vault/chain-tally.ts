import type { SnapshotCounts } from '../../workflows/model/snapshots.ts';
import { Column, Users } from '../contacts/users.ts';
import type { Entry } from './pack.ts';
import { count, noCounts, type UserRecord } from './record.ts';
import { SetHash } from './set-hash.ts';

const ID_BYTES = 16;
const kinds = Object.keys(noCounts()) as (keyof SnapshotCounts)[];

/**
 * The users and rows of a generation as its packs are opened, oldest first: after each pack it is what the snapshot holds
 * whose newest pack that is. Flat tables of about 80 bytes for each user.
 */
export class ChainTally {
  readonly counts = noCounts();
  private readonly set = new SetHash();
  private readonly users = new Users();
  /** Of each user: the id of his record, and how many rows of each kind are in it. Zeros when he is gone. */
  private readonly held = new Column(ID_BYTES + 4 * kinds.length);

  get setHash(): string {
    return this.set.toString();
  }

  apply({ userKey, recordId }: Entry, record: UserRecord): void {
    this.forget(userKey);
    const known = this.users.find(userKey);
    const user = known >= 0 ? known : this.users.add(userKey, 0, userKey.length);
    const rows = noCounts();
    count(rows, record.bytes);
    const value = Buffer.alloc(this.held.width);
    recordId.copy(value);
    for (const [i, kind] of kinds.entries()) {
      value.writeUInt32BE(rows[kind], ID_BYTES + 4 * i);
      this.counts[kind] += rows[kind];
    }
    this.held.set(user, value);
    this.set.add(userKey, recordId);
  }

  forget(userKey: Buffer): void {
    const user = this.users.find(userKey);
    const value = user < 0 ? null : this.held.get(user);
    if (!value) return;
    this.set.remove(userKey, value.subarray(0, ID_BYTES));
    for (const [i, kind] of kinds.entries()) this.counts[kind] -= value.readUInt32BE(ID_BYTES + 4 * i);
    this.held.set(user, Buffer.alloc(this.held.width));
  }
}
