import type { FailoverReport } from '../../../workflows/model/moves.ts';
import { startMove } from '../../moves.ts';
import { Database } from '../../../activities/contacts/database.ts';
import { serves } from './back.ts';
import { signTwice, until } from './moves.ts';
import { LOST, SURVIVOR, urlOf, type Scene } from './scene.ts';
import { differingUsers, makeWitness } from './witness.ts';

/** Users of the lost site come home, with what both sites had. */

const DATABASE = { connections: 1, connectMs: 5000, statementMs: 10_000 };

/**
 * Compared by plain SQL with the rows as they stood at the survivor before: whoever differs is one whom the report says to have
 * been brought together, or the other side of a contact of his. Answers how many users differ beyond that.
 */
export async function comeHome(scene: Scene): Promise<number> {
  const { options, customer, client } = scene;
  await makeWitness(urlOf(scene, SURVIVOR), urlOf(scene, LOST), LOST);
  const handle = await startMove(await client(SURVIVOR), SURVIVOR, 'relocate', {
    customer,
    half: LOST,
    from: SURVIVOR,
    to: LOST,
    rule: 'survivor',
    reason: 'demo: the site is back, and holds a copy of everybody',
    requestedBy: 'operator-1',
  });
  await until(handle, options, (s) => s.phase === 'approving');
  await signTwice(scene, handle);
  await until(handle, options, (s) => s.phase === 'closed');
  const { report } = await handle.result();
  const [lost, survivor] = [LOST, SURVIVOR].map(
    (site) => new Database(`database of ${customer} at ${site}`, urlOf(scene, site), DATABASE),
  ) as [Database, Database];
  try {
    const told = await survivor.query<{ username: string }>('select username from tandem.reconciled where move = $1', [
      report.move,
    ]);
    const known = new Set(told.map(({ username }) => username));
    const others = [...(await differingUsers(urlOf(scene, LOST), LOST))].filter((name) => !known.has(name));
    const { written, mended } = factsOf(report);
    const differences = Math.max(0, others.length - mended);
    options.tell('failed-back', {
      outcome: report.outcome,
      unreachableMs: report.unreachableMs ?? -1,
      broughtTogether: told.length,
      written,
      contactsMended: mended,
      [`${LOST}Serves`]: await serves(lost),
      [`${SURVIVOR}Serves`]: await serves(survivor),
      differences,
    });
    return differences + (report.outcome === 'closed' ? 0 : 1);
  } finally {
    await Promise.all([lost.close(), survivor.close()]);
  }
}

function factsOf({ steps }: FailoverReport): { written: number; mended: number } {
  const facts = steps.find(({ act }) => act === 'reconcile-contacts')?.facts ?? {};
  const count = (name: string): number => (typeof facts[name] === 'number' ? facts[name] : 0);
  return { written: count('written'), mended: count('pairsMended') };
}
