import { STALE_MS, type StoredWatch } from '../../activities/probes/watch/stored.ts';
import { duration } from '../../workflows/model/rto.ts';
import { nextCommand } from '../../workflows/model/watch-news.ts';
import type { HalfStatus } from './status-half.ts';

/** What a site's watch says of its peer, as a screen shows it. */
export interface PeerStatus {
  peer: string;
  /** Null when it never looked. */
  watched: StoredWatch | null;
  /** Its worker looks no longer, or never did: what it last saw is no news. */
  stale: boolean;
}

export const peerStatus = (peer: string, watched: StoredWatch | null): PeerStatus => ({
  peer,
  watched,
  stale: watched === null || watched.ageMs > STALE_MS,
});

const words = { serving: 'serves', unknown: 'is NOT SEEN TO SERVE', dead: 'is DEAD' } as const;

export function peerLine(site: string, { peer, watched, stale }: PeerStatus): string {
  const seenAt = `PEER, seen at ${site}`;
  if (!watched) return `${seenAt}: NOBODY WATCHES ${peer}: the worker of ${site} has never looked`;
  const { verdict, since, silentSince, ageMs, observers } = watched;
  const says = verdict === null ? 'nothing is settled yet' : `${words[verdict]}, since ${since ?? '-'}`;
  if (stale) return `${seenAt}: NOBODY WATCHES ${peer}: last looked at ${duration(ageMs)} ago; then: ${says}`;
  const silent = silentSince === null ? '' : `; its client port is silent since ${silentSince}`;
  // Its own database says so: it is there, and whether it should serve somebody is not for this line to say.
  if (verdict !== 'serving' && observers.some(({ name, saw }) => name === 'database' && saw === 'closed'))
    return `${seenAt}: ${peer} answers, and serves nobody${silent}`;
  return `${seenAt}: ${peer} ${says}${silent}`;
}

/**
 * The command by which somebody takes over from a site that its peer does not see to serve, while users are served there.
 * None when each site says so of the other: nobody declares a failover by a broken line between two that answer.
 */
export function peerNext(halves: readonly HalfStatus[], peers: readonly PeerStatus[]): string | null {
  const commands = peers.flatMap(({ peer, watched, stale }) => {
    const half = halves.find(({ servedAt }) => servedAt === null || servedAt === peer);
    if (!half || !watched || stale) return [];
    const { verdict: settled, since, silentSince, observers } = watched;
    const watch = { settled, since, silentSince };
    const of = half.servedAt === null ? peer : half.half;
    const command = nextCommand({ customer: half.customer, peer, watch, observers, peerServes: true, half: of });
    return command === null ? [] : [command];
  });
  return commands.length === 1 ? (commands[0] ?? null) : null;
}
