import type { FailureKind } from '../../workflows/model/failures.ts';
import type { BuiltRecords } from '../vault/record-builder.ts';
import type { Parting } from './gather.ts';
import type { SharedSpill } from './spill.ts';
import type { SharedUsers } from './users.ts';

/** A chunk from a socket fits into one or two of these. */
export const SLOT_BYTES = 64 << 10;
export const SLOTS = 16;

export type ToThread =
  | {
      do: 'begin';
      users: SharedUsers;
      parting: Parting;
      key: Uint8Array;
      spill: SharedSpill;
      /** `SLOTS` of `SLOT_BYTES`, in which bytes reach the thread without an allocation for each piece; then its own. */
      memory: SharedArrayBuffer;
    }
  /** A COPY of rows of this kind follows. */
  | { do: 'copy'; kind: number }
  | { do: 'take'; slot: number; length: number }
  | { do: 'copied' }
  /** All rows have come. */
  | { do: 'end' }
  | { do: 'build'; part: number; spilled: number[]; room: ArrayBuffer | undefined };

export type FromThread =
  | { did: 'take'; slot: number }
  | { did: 'copied' }
  /** `rows`: how many of each kind. */
  | { did: 'end'; rows: number[]; spilled: number[][] }
  | { did: 'build'; part: number; built: BuiltRecords }
  | { did: 'fail'; kind: FailureKind | null; message: string };
