import { verdictOf } from '../../workflows/model/verdict.ts';
import { rowsGive, type Ground } from './ground.ts';
import { Closing, Kind, movesOf, otherOf, Phase, siteOfMove, type MoveIndex, type SiteIndex } from './world.ts';

/** What a control room sees of the other site, and how it declares a failover. */

type Seen = { name: string; saw: 'serving' | 'closed' | 'answers' | 'unreachable' | 'unknown' };

export const able = ({ w }: Ground, s: SiteIndex): boolean => w.sites[s].worker === 1 && w.sites[s].database === 1;

export const reaches = ({ w }: Ground, s: SiteIndex): boolean =>
  w.all.peers === 1 && w.sites[otherOf(s)].database === 1;

/** As the survivor's observers look at the source when a plan is made. */
export function observers(ground: Ground, s: SiteIndex): Seen[] {
  const { w } = ground;
  const peer = w.sites[otherOf(s)];
  const linked = w.all.peers === 1;
  const answers = (up: number): Seen['saw'] => (linked && up === 1 ? 'answers' : 'unreachable');
  const open = rowsGive(ground, otherOf(s)) !== 0 && peer.closed === Closing.open;
  const beats = peer.worker === 1 && peer.toWitness === 1 ? 'answers' : 'unreachable';
  return [
    { name: 'database', saw: reaches(ground, s) ? (open ? 'serving' : 'closed') : 'unreachable' },
    { name: 'vault', saw: answers(peer.vault) },
    { name: 'sign-in', saw: w.all.peers !== 0 && peer.service === 1 ? 'answers' : 'unreachable' },
    { name: 'witness', saw: w.sites[s].toWitness === 0 ? 'unknown' : beats },
  ];
}

/** One above all that can be read now. */
export function nextNumber(ground: Ground, s: SiteIndex): number {
  const { w } = ground;
  const site = w.sites[s];
  const peer = w.sites[otherOf(s)];
  const known = [
    site.epoch,
    site.vault === 1 ? site.inVault : 0,
    ...(site.toWitness === 1 ? [site.inWitness, peer.inWitness] : []),
    site.toZone === 1 ? w.all.inZone : 0,
    reaches(ground, s) ? peer.epoch : 0,
    w.all.peers === 1 && peer.vault === 1 ? peer.inVault : 0,
  ];
  return 1 + Math.max(...known.map((move) => w.numberOf(move)));
}

export const superseded = ({ w }: Ground, m: MoveIndex): boolean => {
  const held = w.sites[siteOfMove(m)].epoch;
  return held !== m && w.numberOf(held) >= w.numberOf(m);
};

/** A move that is not over; one that a newer epoch has overtaken ends at its next step. */
export const isLive = (ground: Ground, m: MoveIndex): boolean => {
  const { phase, ended } = ground.w.move(m);
  return (
    ended === 0 && phase !== Phase.none && phase !== Phase.served && phase !== Phase.over && !superseded(ground, m)
  );
};

export const freeMove = ({ w }: Ground, s: SiteIndex): MoveIndex | null =>
  movesOf(s).find((m) => w.move(m).phase === Phase.none) ?? null;

/** A failover of the peer's half is declared, planned and signed, or planned again before it has claimed anything. */
export function declares(ground: Ground, s: SiteIndex, { stated }: { stated: boolean }): boolean {
  const { w, rules } = ground;
  const site = w.sites[s];
  if (!able(ground, s) || site.fork === 1 || (rowsGive(ground, s) & 2) !== 0) return false;
  const planned = movesOf(s).find((m) => w.move(m).phase === Phase.declared && w.move(m).kind === Kind.failover);
  const slot = planned ?? freeMove(ground, s);
  if (slot === null || movesOf(s).some((m) => m !== slot && isLive(ground, m))) return false;
  const seen = observers(ground, s);
  const verdict = verdictOf(seen);
  const machine = seen[0]?.saw !== 'unreachable';
  const silent = { closed: null, silent: true } as const;
  // A word is asked for only where nothing else tells.
  if (stated === (machine || rules.confirmedBy(silent, { statement: null, verdict }) !== null)) return false;
  const dead = verdict === 'dead' ? 1 : 0;
  Object.assign(w.move(slot), { number: nextNumber(ground, s), phase: Phase.declared, stated: stated ? 1 : 0, dead });
  return true;
}
