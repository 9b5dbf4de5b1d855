import { ApplicationFailure } from '@temporalio/workflow';
import type { SignedVerb } from '../model/approvals.ts';
import type { BreakGlass } from '../model/break-glass.ts';
import type { Run } from './run.ts';

/**
 * One commander goes on alone (DESIGN 4). His word is a signature like any other, so that a second one goes on at once;
 * after ten minutes it is enough. Whoever stops it leaves the declaration, its plan and its clock as they are: two must
 * sign then, and he is there to be the second. To end the move there is `abort`.
 */

export const askedAlone = (v: SignedVerb): BreakGlass => ({
  operator: v.operator,
  because: v.because ?? '',
  digest: v.digest,
  nonce: v.nonce,
  pagedAt: null,
  sent: [],
  stoppedBy: null,
});

/** Open: not stopped, and its signature alive. */
function open(run: Run): BreakGlass | null {
  const glass = run.breakGlass;
  const alive = run.status().approvals.some((a) => a.operator === glass?.operator);
  return glass && glass.stoppedBy === null && alive ? glass : null;
}

/** Why the glass cannot be broken now; null when it can. */
export function notBreakable(run: Run, v: SignedVerb): string | null {
  if (run.workflow !== 'failover') return `a ${run.name} is planned, and nobody waits for it: two must sign`;
  if (v.because === undefined || v.because.trim() === '') return 'breaking the glass has a reason: `because`';
  const stoppedBy = run.breakGlass?.stoppedBy ?? null;
  if (stoppedBy !== null) return `${stoppedBy} has stopped it: two must sign`;
  const before = open(run);
  if (before) return `${before.operator} has broken the glass already: wait, or another operator signs`;
  return run.pages.wanted ? null : 'nobody is paged at this site (`paging` in its configuration): two must sign';
}

export function notStoppable(run: Run): string | null {
  if (run.phase !== 'approving') return `in phase ${run.phase} nobody waits to go on alone`;
  return open(run) ? null : 'nobody has broken the glass';
}

/** The ten minutes begin when a channel took the page; when none did, the word is no more than one signature of two. */
export async function pageAll(run: Run, { operator, because = '', digest, nonce }: SignedVerb): Promise<void> {
  const { sent, failed } = await run.pages.brokenGlass(operator, because, nonce);
  const glass = run.breakGlass;
  if (glass?.nonce !== nonce) return; // The plan has changed meanwhile: void.
  const paged = sent.length > 0;
  run.write('break-glass', { state: paged ? 'paged' : 'refused', operator, because, digest, nonce, sent, failed });
  if (paged) Object.assign(glass, { pagedAt: Date.now(), sent } satisfies Partial<BreakGlass>);
  else if (glass.stoppedBy === null) run.breakGlass = null;
  run.show();
  run.flush().catch(() => undefined); // As with every word: a journal that fails for good ends the run where it waits.
  if (paged) return;
  const why = failed.map((f) => `${f.channel}: ${f.because}`).join('; ');
  throw ApplicationFailure.nonRetryable(
    `${run.input.customer}: break-glass refused, nobody could be paged (${why}); the signature of ${operator} stands as one of two`,
    'verb-refused',
  );
}
