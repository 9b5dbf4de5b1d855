import { STALE_MS, type StoredWatch } from '../../activities/probes/watch/stored.ts';
import { duration } from '../../workflows/model/rto.ts';
import { byName } from '../../workflows/model/half.ts';
import { nextCommand } from '../../workflows/model/watch-news.ts';
import type { SeenPeer } from './as-planned.ts';
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

/** As whoever decides by it takes it; nothing where nobody looks. */
export function seenPeer({ peer, watched, stale }: PeerStatus): SeenPeer[] {
  if (!watched || stale) return [];
  const { verdict, since, silentSince, observers } = watched;
  return [{ peer, verdict, since: silentSince ?? since, observers }];
}

const words = { serving: 'serves', unknown: 'is NOT SEEN TO SERVE', dead: 'is DEAD' } as const;

export function peerLine(site: string, { peer, watched, stale }: PeerStatus): string {
  const seenAt = `PEER, seen at ${site}`;
  if (!watched) return `${seenAt}: NOBODY WATCHES ${peer}: the worker of ${site} has never looked`;
  const { verdict, since, silentSince, ageMs, observers } = watched;
  const says = verdict === null ? 'nothing is settled yet' : `${words[verdict]}, since ${since ?? '-'}`;
  if (stale) return `${seenAt}: NOBODY WATCHES ${peer}: last looked at ${duration(ageMs)} ago; then: ${says}`;
  const silent = silentSince === null ? '' : `; its client port is silent since ${silentSince}`;
  // Users have just come home to it, mostly.
  if (verdict !== null && verdict !== 'serving' && observers.some(({ saw }) => saw === 'serving'))
    return `${seenAt}: ${peer} serves, by the newest look; it was not seen to since ${since ?? '-'}${silent}`;
  // Its own database says so: it is there, and whether it should serve somebody is not for this line to say.
  if (verdict !== 'serving' && observers.some(({ name, saw }) => name === 'database' && saw === 'closed'))
    return `${seenAt}: ${peer} answers, and serves nobody${silent}`;
  return `${seenAt}: ${peer} ${says}${silent}`;
}

/**
 * The commands by which somebody takes over from a site that its peer does not see to serve, one for each half that is served
 * there, its own users first. None when each site says so of the other: nobody declares a failover by a broken line between two
 * that answer.
 */
export function peerNext(halves: readonly HalfStatus[], peers: readonly PeerStatus[]): string[] {
  const commands = peers.map(({ peer, watched, stale }) => {
    if (!watched || stale) return [];
    const { verdict: settled, since, silentSince, observers } = watched;
    // The verdict takes some looks to follow: one of them that sees it serve is enough to take nothing over.
    if (observers.some(({ saw }) => saw === 'serving')) return [];
    const watch = { settled, since, silentSince };
    const alone = byName(halves.filter(({ servedAt }) => servedAt === peer).map(({ half }) => half));
    return halves
      .filter(({ half, servedAt }) => servedAt === null || alone.includes(half))
      .filter(({ servedAt, servedSince }) =>
        servedAt === null ? true : servedAt === peer && isLater(watched.at, servedSince),
      )
      .toSorted((a, b) => Number(b.half === peer) - Number(a.half === peer))
      .flatMap(({ customer, half, servedAt }) => {
        const of = servedAt === null ? peer : half;
        return nextCommand({ customer, peer, watch, observers, peerServes: true, half: of }) ?? [];
      });
  });
  const said = commands.filter((of) => of.length > 0);
  return said.length === 1 ? [...new Set(said.flat())] : [];
}

/** What was seen before they were served there says nothing about that: users have just come home to it. */
const isLater = (at: string, since: string | null): boolean => since === null || Date.parse(at) > Date.parse(since);
