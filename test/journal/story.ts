import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { closeMove } from '../../activities/journal/close.ts';
import type { Evidence } from '../../activities/journal/evidence.ts';
import { writeJournal } from '../../activities/journal/moves.ts';
import { listMoves, readSealed } from '../../activities/journal/read.ts';
import { sha256 } from '../../activities/vault/signed.ts';
import { fingerprint } from '../../ops/evidence.ts';
import { rawHex } from '../../ops/keys.ts';
import { signVerb } from '../../ops/verbs.ts';
import type { SignedVerb } from '../../workflows/model/approvals.ts';
import type { FailoverReport, FailoverStatus, JournalEntry } from '../../workflows/model/moves.ts';
import { canonicalJson, type Approver, type Decisions } from '../../workflows/model/plan.ts';
import { CUSTOMER, type World } from '../failover-acts/world.ts';
import { begin, reportOf } from './journals.ts';

const pair = (): { id: string; key: KeyObject; roles: Approver['roles']; raw: string }[] =>
  (['al', 'bo', 'cy'] as const).map((id) => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const roles: Approver['roles'] = id === 'al' ? ['approve', 'commander', 'operate'] : ['approve'];
    return { id, key: privateKey, roles, raw: rawHex(publicKey) };
  });
const people = pair();

/** What a failover writes, entry by entry, for a test to change before it is written: only the signatures of the site are then good. */
export interface Draft {
  entries: JournalEntry[];
  report: Omit<FailoverReport, 'journalHead'>;
  decisions: Decisions;
  /** The line that an operator's word leaves, over this plan. */
  sign: (operator: string, change?: Partial<SignedVerb>, digest?: string) => JournalEntry;
}

export function nth<T>(list: readonly T[], i: number): T {
  const found = list[i];
  if (found === undefined) throw new Error(`nothing at ${i} of ${list.length}`);
  return found;
}

const START = Date.parse('2026-03-01T04:00:00.000Z');
export const at = (s: number): string => new Date(START + 1000 * s).toISOString();

/** Writes a whole failover into the journal of west, closes it, and reads its evidence from the vault. */
export async function tell(
  world: World,
  change: (draft: Draft) => void = () => undefined,
  decided: (decisions: Decisions) => Partial<Decisions> = () => ({}),
): Promise<Evidence> {
  const move = await begin(world);
  const draft = draftOf(move, decided);
  change(draft);
  const half = draft.entries.length >> 1;
  await writeJournal(world.west, draft.entries.slice(0, half));
  await writeJournal(world.west, draft.entries.slice(half));
  await closeMove(world.west, draft.report);
  return evidenceOf(world, move);
}

export async function evidenceOf(world: World, move: string): Promise<Evidence> {
  const { publicKeys } = world.settings;
  const shelf = { vault: world.west.vault, customer: CUSTOMER, site: 'west', publicKeys };
  const held = (await listMoves(shelf)).find((m) => m.move === move);
  if (!held) throw new Error(`no move ${move}`);
  const named = Object.fromEntries([...publicKeys].map(([site, key]) => [site, fingerprint(key)]));
  const about = { customer: CUSTOMER, move, site: 'west', readFrom: 'west', exportedAt: at(100), publicKeys: named };
  return { format: 1, ...about, ...(await readSealed(shelf, held)) };
}

export const entryOf = (
  move: string,
  key: string,
  kind: JournalEntry['kind'],
  seconds: number,
  body: Record<string, unknown>,
): JournalEntry => ({ customer: CUSTOMER, move, key, kind, at: at(seconds), body });

function draftOf(move: string, decided: (decisions: Decisions) => Partial<Decisions>): Draft {
  const usual = {
    format: 1,
    kind: 'failover',
    customer: CUSTOMER,
    from: 'east',
    to: 'west',
    epoch: 2,
    approvers: people.map(({ id, raw, roles }) => ({ id, key: raw, roles })),
    approvalsNeeded: 2,
    steps: [],
  } as unknown as Decisions;
  const decisions = { ...usual, ...decided(usual) };
  const digest = sha256(canonicalJson(decisions));
  let seconds = 10;
  const sign: Draft['sign'] = (operator, change = {}, signed = digest) => {
    const status = { customer: CUSTOMER, move, plan: { digest: signed, decisions }, steps: [] };
    const { key } = people.find((p) => p.id === operator) ?? nth(people, 0);
    const now = START + 1000 * seconds;
    const { verb: name = 'approve', accepts, breakGlass } = change;
    const alone = breakGlass && { breakGlass: true as const };
    const request = { verb: name, operator, key, now, ...(accepts && { accepts }), ...alone };
    const verb = signVerb(status as unknown as FailoverStatus, request);
    return entryOf(move, `signed/${operator}`, 'signed', (seconds += 1), { ...verb, ...change });
  };
  const effect = { act: 'advance-epoch', step: 'epoch', round: 0, result: { summary: 'epoch 2', facts: {} } };
  return {
    decisions,
    sign,
    entries: [
      entryOf(move, 'declared/0', 'declared', 0, { customer: CUSTOMER, from: 'east', requestedBy: 'al' }),
      entryOf(move, 'phase/1', 'phase', 1, { phase: 'planning' }),
      entryOf(move, 'planned/2', 'planned', 2, { digest, decisions, source: null, blockers: [] }),
      entryOf(move, 'phase/3', 'phase', 3, { phase: 'approving' }),
      sign('al'),
      sign('bo'),
      entryOf(move, 'phase/6', 'phase', 20, { phase: 'moving' }),
      entryOf(move, `effect/${CUSTOMER}/2/epoch/0`, 'step', 21, effect),
      entryOf(move, 'step/7', 'step', 22, { step: 'epoch', act: 'advance-epoch', round: 0, state: 'done' }),
    ],
    report: reportOf(move, {
      planDigest: digest,
      approvedAt: at(20),
      servedAt: at(60),
      approvals: [
        { operator: 'al', at: at(11) },
        { operator: 'bo', at: at(12) },
      ],
      recoveryPoint: at(-3600),
      recoveryPointAgeMs: 3_480_000,
      rtoMs: 180_000,
      rtoPromiseMs: 86_400_000,
      restored: { users: 12_345, contacts: 67_890, aclItems: 11 } as FailoverReport['restored'],
      mismatches: 0,
      notTested: ['message archives of the lost site: they are not copied'],
    }),
  };
}
