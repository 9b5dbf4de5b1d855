import type { Epoch } from '../../../workflows/model/epoch.ts';
import type { PeerHalf } from '../../../workflows/model/opening.ts';
import type { Isolation } from '../../../workflows/model/plan.ts';
import type { Fork } from '../../../workflows/model/watch-news.ts';

export type Answer = 'answers' | 'silent';
export type Observer = Isolation['observers'][number];

/** A refusal is an answer; what could not be looked at is not silent. */
export const answerOf = ({ saw }: Observer): Answer => (saw === 'unreachable' ? 'silent' : 'answers');

/** What one look of the watch saw of a customer's two sites, for whoever decides by it. Of this look alone: nothing is settled. */
export interface Seen {
  peer: {
    site: string;
    verdict: Isolation['verdict'];
    database: Answer;
    /** Null when its database is silent, or says nothing of this customer. */
    rows: readonly PeerHalf[] | null;
    /** The newest epoch that its database holds. */
    epoch: Epoch | null;
    /** Whether its database or its vault was read: what would tell of a newer epoch. */
    tells: boolean;
  };
  /** The witness itself, whatever it tells of the peer. A refusal is an answer. */
  witness: Answer | 'none';
  own: {
    database: Answer;
    /** Null when its database is silent, or not that of this customer at this site. */
    epoch: Epoch | null;
    clients: Answer | 'none';
    vault: Answer;
  };
  /** Another claim of the very number that this site holds, in the zone not counted. */
  fork: Fork | null;
}
