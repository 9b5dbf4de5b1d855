import { againText, type Again } from './again.ts';
import { byName, homeOf } from './half.ts';
import { canonicalJson, type Capacity, type Decisions, type Isolation, type Named } from './plan.ts';
import { duration } from './rto.ts';

/**
 * What is worse than promised and goes on all the same when whoever signs names it. Each name is typed by a person, and
 * is the same for the same world.
 */

const MINUTE = 60_000;

/** `20h12m`, rounded up: nobody accepts less than is lost. */
function hoursAndMinutes(ms: number): string {
  const minutes = Math.ceil(ms / MINUTE);
  return `${Math.floor(minutes / 60)}h${minutes % 60}m`;
}

export interface World {
  from: string;
  to: string;
  /** Whose users move. */
  half: string;
  /** Beyond the RPO; null when it holds. */
  acceptedLossMs: number | null;
  rpoMs: number;
  /** Set when the source was seen to serve, and the declarer asks to fail over all the same: who saw it. */
  servingSeenBy: string | null;
  /** Of users whom the survivor serves by now: set when they are to be brought to another recovery point. */
  again: Again | null;
  /** Of users whom the survivor serves by its own database: why that may be older than what they have changed. */
  doubt?: string | null;
  /** Of the survivor's own users, those whom it does not serve: they were moved to the source, and are lost with it. */
  ownUnserved: number;
  /** Halves that the source serves as well, and that do not move. */
  othersThere?: readonly string[];
  capacity: Capacity;
  /** What the survivor could not prove of itself. */
  unproven: readonly string[];
}

export function acceptancesOf(world: World): Named[] {
  const { from, to, half, acceptedLossMs, rpoMs, servingSeenBy, again, ownUnserved, capacity, unproven } = world;
  const ofThem = byName(world.othersThere ?? []).filter((other) => homeOf(other) === to);
  const accepted: Named[] = [];
  if (acceptedLossMs !== null)
    accepted.push({
      name: `data-loss ${hoursAndMinutes(acceptedLossMs)}`,
      because: `changes of the last ${duration(acceptedLossMs)} before the loss are gone for good; promised are ${duration(rpoMs)} at most`,
    });
  if (servingSeenBy !== null)
    accepted.push({
      name: 'source-is-serving',
      because: `${from} serves its users now, seen by its ${servingSeenBy}: they are cut off, and what they change from here on is not brought over`,
    });
  if (world.doubt)
    accepted.push({
      name: 'overwrite-served',
      because: `${to} serves the users of ${half} by its own database, and ${world.doubt}: their contacts and block lists are set back to the recovery point, and what they changed here since is gone`,
    });
  if (again?.base) accepted.push({ name: 'another-recovery-point', because: againText(to, half, again) });
  if (ownUnserved > 0)
    accepted.push({
      name: 'own-users-unserved',
      because: `${ownUnserved} users of ${to} itself were moved to ${from} before, and this move does not bring them back: nobody serves them until another failover does (${(ofThem.length > 0 ? ofThem : [to]).map((other) => `\`--half ${other}\``).join(', ')})`,
    });
  const { served, moves, users, trafficBytesPerSecond: traffic, linkBytesPerSecond: link } = capacity;
  if (served !== null && users !== null && served + moves > users)
    accepted.push({
      name: `over-capacity ${percent(served + moves, users)}%`,
      because: `${to} has capacity for ${users} users and would serve ${served + moves}`,
    });
  if (traffic !== null && link !== null && traffic > link)
    accepted.push({
      name: `over-link ${percent(traffic, link)}%`,
      because: `the customer’s link to ${to} carries ${rate(link)} and would have to carry ${rate(traffic)}`,
    });
  if (unproven.length > 0)
    accepted.push({
      name: 'survivor-unproven',
      because: `${to} could not prove that it can serve: ${unproven.join('; ')}`,
    });
  return accepted;
}

const percent = (of: number, all: number): number => Math.ceil((100 * of) / all);

/** `12.5 MB/s`. */
export const rate = (bytesPerSecond: number): string => `${Number((bytesPerSecond / 1e6).toFixed(1))} MB/s`;

/** Users come and go while people read: within this share of what was signed nobody decides otherwise (DESIGN 4). */
const USERS_SHARE = 0.01;

/**
 * What people have signed, when the world has only drifted since: a few users more or less, a recovery point that is
 * newer, a shortage that is no worse, a part of the lost site that has fallen silent. Else what is to be signed now. It is
 * compared with what was signed, never with the last look: small steps must not add up to another world.
 */
export function withoutDrift(signed: Decisions, now: Decisions): Decisions {
  const newer = Date.parse(now.recoveryPoint) >= Date.parse(signed.recoveryPoint);
  const near = Math.abs(now.users - signed.users) <= USERS_SHARE * signed.users;
  const covered = noWorse(signed.acceptances ?? [], now.acceptances ?? []);
  const { recoveryPoint, acceptedLossMs, acceptances } = signed;
  const drifted: Partial<Decisions> = {
    ...now,
    users: near ? signed.users : now.users,
    isolation: noLess(signed.isolation, now.isolation) ? signed.isolation : now.isolation,
    ...(newer && { recoveryPoint, acceptedLossMs }),
  };
  if (covered) delete drifted.acceptances;
  if (covered && acceptances) drifted.acceptances = acceptances;
  return canonicalJson(drifted) === canonicalJson(signed) ? signed : now;
}

/** Whether as much is known of the isolation as was signed: an observer that has come back to answer is less. */
function noLess(signed: Isolation, now: Isolation): boolean {
  if (signed.verdict !== now.verdict || signed.statement !== now.statement) return false;
  return signed.observers.every(({ name, saw }) => {
    const seen = now.observers.find((o) => o.name === name)?.saw;
    return seen === saw || seen === 'closed' || (saw === 'answers' && seen === 'unreachable');
  });
}

/** Whether what was accepted still covers what would have to be: nothing of another kind, nothing larger but by a percent. */
function noWorse(signed: readonly string[], now: readonly string[]): boolean {
  return now.every((name) => {
    const same = signed.find((s) => kind(s) === kind(name));
    return same !== undefined && size(name) <= size(same) + (name.endsWith('%') ? 1 : 0);
  });
}

const kind = (name: string): string => name.split(' ')[0] ?? name;

/** Percent, or minutes; 0 of what has no size. */
function size(name: string): number {
  const [, hours, minutes] = / (\d+)h(\d+)m$/.exec(name) ?? [];
  if (hours !== undefined) return 60 * Number(hours) + Number(minutes);
  return Number(/ (\d+)%$/.exec(name)?.[1] ?? 0);
}
