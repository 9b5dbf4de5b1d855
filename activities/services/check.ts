import type { Act } from '../../workflows/model/acts.ts';
import { halvesOf } from '../../workflows/model/plan.ts';
import { compareEpoch } from '../../workflows/model/epoch.ts';
import { broughtTogether } from '../../workflows/model/planned-move.ts';
import { archiveBrought } from '../archive/act.ts';
import { entitlementsStand } from '../directory/act.ts';
import { checkTraffic } from '../traffic/act.ts';
import { drainStands, drainUndone } from './drained.ts';
import { isEnabled } from './enable.ts';
import { sourceServes } from './give-back.ts';
import { handedOver } from './handed-home.ts';
import { checkOutside } from './outside.ts';
import { parityHolds } from './parity.ts';
import { homesStand } from './rehome.ts';
import { claimStood } from './self-fenced.ts';
import type { OwnSite } from './site.ts';
import type { PlannedStep } from './planned.ts';

/** What was found of a step's effect, whoever made it. */
export interface Seen {
  seen: boolean;
  summary: string;
}

type Check = (site: OwnSite, input: PlannedStep, signal: AbortSignal) => Promise<Seen> | Seen;

/** Of acts that are not here nobody can see the effect from this site: it is there when the operators say so. */
const checks: Partial<Record<Act, Check>> = {
  'advance-epoch': epochHeld,
  'fence-site': isolated,
  'open-site': (site, input, signal) =>
    input.plan.decisions.planned ? drainUndone(site, input) : sourceServes(site, input, signal),
  'drain-sessions': drainStands,
  'restore-contacts': () => ({ seen: false, summary: 'a retry compares every row, and writes those that differ' }),
  'salvage-contacts': () => ({ seen: false, summary: 'a retry reads it to its end' }),
  'take-snapshot': () => ({ seen: false, summary: 'a retry takes another one, of what has changed since' }),
  'reconcile-contacts': reconciled,
  probe: () => ({ seen: false, summary: 'a retry looks again' }),
  'apply-entitlements': entitlementsStand,
  'serve-users': (site, input, signal) =>
    input.plan.decisions.planned ? handedOver(site, input, signal) : rightHeld(site, input),
  'rehome-users': homesStand,
  'shift-dns': (site, input, signal) => checkTraffic(site, input, 'shift-dns', signal),
  'shift-proxy': (site, input, signal) => checkTraffic(site, input, 'shift-proxy', signal),
  'check-parity': parityHolds,
  'reconcile-archive': (site, input, signal) => archiveBrought(site, input, signal),
  'enable-service': isEnabled,
  'call-http': (site, input, signal) => checkOutside(site, input, 'call-http', signal),
  'run-command': (site, input, signal) => checkOutside(site, input, 'run-command', signal),
};

/** Looks whether what a step was to bring about stands, whoever did it. Changes nothing. */
export async function checkEffect(site: OwnSite, input: PlannedStep, signal: AbortSignal): Promise<Seen> {
  const check = checks[input.act];
  return check ? check(site, input, signal) : { seen: true, summary: 'nothing here can see it' };
}

/** Who is written is not written again, so that a retry is always the better way; but where there is nothing, nothing is missing. */
function reconciled(_: OwnSite, { plan }: PlannedStep): Seen {
  const nothing = plan.decisions.planned !== undefined && broughtTogether(plan.decisions).length === 0;
  return { seen: nothing, summary: nothing ? 'there is nothing to bring together' : 'a retry writes whoever is left' };
}

/** People's word, which counts from when the source must have closed itself. */
async function isolated(site: OwnSite, input: PlannedStep): Promise<Seen> {
  const { from, steps } = input.plan.decisions;
  const { waitsMs } = steps.find(({ id }) => id === input.key.step) ?? {};
  const stood = waitsMs === undefined ? null : await claimStood(site, input, waitsMs);
  const told = stood === null ? '' : `; ${stood.told}`;
  return { seen: stood?.enough !== false, summary: `${from} is isolated by a new statement${told}` };
}

async function epochHeld(site: OwnSite, { key: { customer, epoch } }: PlannedStep): Promise<Seen> {
  const [row] = await site
    .database(customer)
    .query<{ number: string; site: string; move: string }>(
      'select number, site, move from tandem.epoch where customer = $1',
      [customer],
    );
  const held = row ? { number: Number(row.number), site: row.site, move: row.move } : null;
  const seen = held !== null && compareEpoch(held, epoch) === 'same';
  const told = `the database of ${site.settings.site} holds epoch ${held?.number ?? 'none'}`;
  return { seen, summary: seen ? told : `${told}, and not epoch ${epoch.number} of this move` };
}

async function rightHeld(site: OwnSite, { key: { customer, epoch }, plan }: PlannedStep): Promise<Seen> {
  const halves = halvesOf(plan.decisions);
  const rows = await site
    .database(customer)
    .query<{ half: string; site: string; epoch: string }>(
      'select half, site, epoch from tandem.serving where customer = $1 and half = any($2) order by half',
      [customer, halves],
    );
  const isHere = (row: (typeof rows)[number]): boolean =>
    row.site === site.settings.site && Number(row.epoch) === epoch.number;
  const told = halves.map((half) => {
    const row = rows.find((r) => r.half === half);
    return `users of ${half}: ${row ? `${row.site} may serve them under epoch ${row.epoch}` : 'nobody may serve them here'}`;
  });
  return { seen: rows.length === halves.length && rows.every(isHere), summary: told.join('; ') };
}
