import type { PoolClient } from 'pg';
import { failure } from '../../workflows/model/failures.ts';
import { moveName, type JournalEntry, type MoveInput, type MoveWorkflow } from '../../workflows/model/moves.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import { requireIdentity } from '../contacts/prepare.ts';
import { checkDeclarer, checkInput, checkRelocateInput } from '../services/input.ts';
import { claimAgain } from '../services/claims.ts';
import { requireStaying } from '../services/leaving.ts';
import type { OwnSite } from '../services/site.ts';
import type { ClaimResult } from '../types.ts';
import { appendJournal } from './chain.ts';
import { tryMirror } from './mirror.ts';
import { supersede } from './supersede.ts';
import { readMove } from './resume.ts';

/** Names a key in the vault and a file on disk, so nothing else may be in it. */
export function checkMove(move: unknown): asserts move is string {
  if (typeof move !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(move)) {
    throw failure(
      'input-invalid',
      `move ${JSON.stringify(move)}: up to 128 letters, digits, dots, dashes and underscores are allowed`,
    );
  }
}

interface MoveRow {
  move: string;
  kind: string;
  workflow_id: string;
  phase: string;
  input: MoveInput;
  started_at: Date;
  ended_at: Date | null;
}

interface Claim {
  input: MoveInput;
  workflow?: MoveWorkflow;
  run: string;
  workflowId: string;
  at: Timestamp;
}

/**
 * Takes the customer's one slot for a move; `move-running` names the move that holds it, and what to do when its run is
 * gone. A repeated claim finds its own. The input is checked first: what cannot be planned never holds the slot. A move
 * has the id of its first run; `resume` takes over the move that holds the slot, and the run that had it writes no more.
 */
export async function claimMove(site: OwnSite, claim: Claim): Promise<ClaimResult> {
  const { input, run, at, workflow = 'failover' } = claim;
  checkMove(run);
  if (input?.resume === true) return takeOver(site, claim);
  const { customer } =
    workflow === 'failover' ? checkInput(site, input, Date.parse(at)) : checkRelocateInput(site, input);
  checkDeclarer(site, workflow, input);
  return site.database(customer.id).transaction(async (client) => {
    await requireIdentity(client, customer.id, site.settings.site);
    await requireStaying(client, customer.id, { table: 'move', run, lost: workflow === 'failover' });
    const superseded = workflow === 'failover' ? await endLower(client, customer.id, claim) : null;
    // Waits for a claim that is under way, and then finds it: the index admits one live move.
    await client.query(
      `insert into tandem.move (move, customer, kind, workflow_id, phase, input, started_at, run)
       values ($1, $2, $6, $3, 'declared', $4, $5, $1) on conflict do nothing`,
      [run, customer.id, claim.workflowId, canonicalJson(input), at, moveName(workflow, input)],
    );
    const { rows } = await client.query<MoveRow>(
      `select move, kind, workflow_id, phase, started_at, ended_at from tandem.move
        where move = $1 or (customer = $2 and ended_at is null) order by move = $1 desc`,
      [run, customer.id],
    );
    const [holder] = rows;
    if (!holder) throw failure('database-unreachable', `slot of ${customer.id}: the move that held it has just ended`);
    if (holder.move !== run) throw slotHeld(customer.id, holder);
    if (holder.ended_at)
      throw failure('move-ended', `move ${run}: ended ${holder.phase} at ${holder.ended_at.toISOString()}`);
    return { resumed: null, paging: site.settings.paging.length > 0, ...(superseded !== null && { superseded }) };
  });
}

/** A planned move that holds the slot gives it to a failover. Answers its workflow, which is to be told; null when there is none. */
async function endLower(client: PoolClient, customer: string, { run, at }: Claim): Promise<string | null> {
  const { rows } = await client.query<MoveRow>(
    `select move, kind, workflow_id, phase, input, started_at, ended_at from tandem.move
      where customer = $1 and ended_at is null and kind <> 'failover' for update`,
    [customer],
  );
  const [lower] = rows;
  if (!lower) return null;
  const { move, input, started_at: startedAt } = lower;
  await supersede(client, { customer, move, input, startedAt: startedAt.toISOString(), by: run, at });
  return lower.workflow_id;
}

async function takeOver(site: OwnSite, { input, run, workflowId, workflow = 'failover' }: Claim): Promise<ClaimResult> {
  const { id } = site.customer(input.customer);
  return site.database(id).transaction(async (client) => {
    await requireIdentity(client, id, site.settings.site);
    await requireWorkflow(client, id, workflow);
    const { rows } = await client.query<MoveRow>(
      `update tandem.move set run = $2, workflow_id = $3 where customer = $1 and ended_at is null
       returning move, kind, workflow_id, phase, input, started_at, ended_at`,
      [id, run, workflowId],
    );
    const [row] = rows;
    if (!row) throw failure('input-invalid', `resume of ${id}: no move holds its slot at ${site.settings.site}`);
    const { move, input: own, started_at: startedAt } = row;
    const resumed = await readMove(client, { customer: id, move, input: own, startedAt: startedAt.toISOString() });
    return { resumed, paging: site.settings.paging.length > 0 };
  });
}

/** A move goes on as what it is: the course of another workflow is another one. */
async function requireWorkflow(client: PoolClient, customer: string, workflow: MoveWorkflow): Promise<void> {
  const { rows } = await client.query<{ move: string; kind: string }>(
    'select move, kind from tandem.move where customer = $1 and ended_at is null',
    [customer],
  );
  const [holder] = rows;
  if (!holder || (holder.kind === 'failover') === (workflow === 'failover')) return;
  throw failure('move-running', `${customer}: move ${holder.move}, which holds the one slot, is a ${holder.kind}`, {
    try: `\`tandem ${holder.kind} resume --customer ${customer}\` goes on with it.`,
  });
}

/** Whether the holder's run is alive only Temporal knows, and a database cannot ask it: the text serves for both. */
function slotHeld(customer: string, { move, kind, workflow_id: workflow, phase, started_at: since }: MoveRow): Error {
  return failure(
    'move-running',
    `${customer}: ${kind === 'failover' ? '' : `${kind}, `}move ${move} (workflow ${workflow}) holds the one slot since ${since.toISOString()}, in phase ${phase}`,
    {
      try: `\`tandem ${kind} watch --customer ${customer}\` shows whether its run lives. If that was terminated or lost, \`tandem ${kind} resume --customer ${customer}\` goes on from its journal; nothing frees the slot but its end.`,
    },
  );
}

/**
 * Appends entries to the journals of their moves, all or none, each once; answers the hash of the newest line, hex
 * (empty when there is no entry), and whether this site's vault holds all lines now. An entry of kind `phase` also moves
 * the phase that the slot shows.
 */
export async function writeJournal(
  site: OwnSite,
  entries: readonly JournalEntry[],
): Promise<{ head: string; mirrored?: boolean }> {
  const [first] = entries;
  if (!first) return { head: '' };
  const head = await appendEntries(site, first, entries);
  const [mirrored] = await Promise.all([tryMirror(site, first), claimAgain(site, first)]);
  return { head, mirrored };
}

async function appendEntries(site: OwnSite, first: JournalEntry, entries: readonly JournalEntry[]): Promise<string> {
  if (entries.some((e) => e.customer !== first.customer || e.move !== first.move)) {
    throw failure('input-invalid', `journal of move ${first.move}: entries of another move among them`);
  }
  return site.database(first.customer).transaction(async (client) => {
    await requireRun(client, first);
    for (const entry of entries) {
      await appendJournal(client, entry);
      if (entry.kind === 'phase') await showPhase(client, entry);
    }
    const { rows } = await client.query<{ hash: Buffer }>(
      'select hash from tandem.journal where move = $1 order by seq desc limit 1',
      [first.move],
    );
    return rows[0]?.hash.toString('hex') ?? '';
  });
}

/** Two runs never write one journal: the one that took the move over is the one that goes on. */
async function requireRun(client: PoolClient, { move, run }: JournalEntry): Promise<void> {
  const { rows } = await client.query<{ run: string | null }>(
    'select run from tandem.move where move = $1 for update',
    [move],
  );
  const now = rows[0]?.run;
  if (run === undefined || now === undefined || now === null || now === run) return;
  throw failure('move-taken-over', `move ${move}: run ${now} has taken it over from run ${run}`);
}

async function showPhase(client: PoolClient, { move, body }: JournalEntry): Promise<void> {
  if (typeof body['phase'] !== 'string')
    throw failure('input-invalid', `journal of move ${move}: an entry of kind phase names none`);
  await client.query('update tandem.move set phase = $2 where move = $1 and ended_at is null', [move, body['phase']]);
}
