import { parentPort } from 'node:worker_threads';
import { PlainFault } from '../plain-fault.ts';
import { recordKeys } from '../vault/macs.ts';
import { buildPart, Collector, type Collecting } from './collect.ts';
import { SLOT_BYTES, SLOTS, type FromThread, type ToThread } from './reading-messages.ts';
import { Spill } from './spill.ts';
import { Tuples } from './tuples.ts';
import { Users } from './users.ts';

/** A thread of a large reading: collects rows from one connection's bytes, then builds records of whole parts. */
let work: Collecting;
let collector: Collector;
let ring: Buffer;
let tuples: Tuples;

const answer = (message: FromThread, lent: ArrayBuffer[] = []): void => parentPort?.postMessage(message, lent);

function perform(message: ToThread): void {
  switch (message.do) {
    case 'begin': {
      const { users, parting, memory, key, spill } = message;
      const shared = new Spill(spill);
      work = { users: Users.of(users), parting, keys: recordKeys(Buffer.from(key)), spill: () => shared };
      ring = Buffer.from(memory, 0, SLOTS * SLOT_BYTES);
      collector = new Collector(work, { room: Buffer.from(memory, ring.length), memory: 0 });
      return;
    }
    case 'copy':
      tuples = new Tuples(collector.rows(message.kind));
      return;
    case 'take':
      tuples.push(ring.subarray(message.slot * SLOT_BYTES, message.slot * SLOT_BYTES + message.length));
      return answer({ did: 'take', slot: message.slot });
    case 'copied':
      tuples.end();
      return answer({ did: 'copied' });
    case 'end':
      return answer({ did: 'end', rows: collector.counts, spilled: collector.end().map(({ spilled }) => spilled) });
    case 'build': {
      const { part, spilled, room } = message;
      const built = buildPart(work, part, { memory: [], spilled }, room);
      const { bytes, places, userKeys, recordIds } = built;
      return answer({ did: 'build', part, built }, [bytes.buffer, places.buffer, userKeys.buffer, recordIds.buffer]);
    }
    default:
      return message satisfies never;
  }
}

parentPort?.on('message', (message: ToThread) => {
  try {
    perform(message);
  } catch (error) {
    const kind = error instanceof PlainFault ? error.kind : null;
    answer({ did: 'fail', kind, message: error instanceof Error ? error.message : String(error) });
  }
});
