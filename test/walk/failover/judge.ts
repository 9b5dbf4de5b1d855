import { judgeEvidence } from '../../../activities/journal/evidence.ts';
import { readSealed } from '../../../activities/journal/read.ts';
import { readConfiguration } from '../../../ops/config/configuration.ts';
import { publicKeysOf } from '../../../ops/config/settings.ts';
import { fingerprint } from '../../../ops/evidence.ts';
import { openJournals, readFirst } from '../../../ops/journals.ts';
import { sql } from '../../rig/sql.ts';
import { SURVIVOR, type World } from './world.ts';

/** What a move that has ended left, as far as it must be the same whatever happened to it. */
export interface End {
  outcome: string;
  differences: number;
  served: boolean;
  /** What leads users elsewhere. */
  misleading: string[];
  /** Effects by step and round, each as often as it stands in the journal. */
  effects: string[];
  /** Checks of the sealed evidence that do not hold. */
  evidence: string[];
}

/** The survivor's worker seals what an ended run has not. */
const SEALED_LIMIT_MS = 60_000;

export async function endOf(world: World, move: string, signal: AbortSignal): Promise<End> {
  const [row] = await sql<{ phase: string }>(world.url, `select phase from tandem.move where move = '${move}'`);
  const { now, all } = await world.served();
  return {
    outcome: row?.phase ?? 'unknown',
    differences: await world.differences(),
    served: now === all && all > 0,
    misleading: await world.misleading(),
    effects: await effectsOf(world.url, move),
    evidence: await faultsOf(world, { site: SURVIVOR, move }, signal),
  };
}

/** Of a move, as its journal has them. */
export async function effectsOf(url: string, move: string): Promise<string[]> {
  const effects = await sql<{ effect: string }>(
    url,
    `select split_part(key, '/', 4) || '/' || split_part(key, '/', 5) as effect
       from tandem.journal where move = '${move}' and key like 'effect/%' order by 1`,
  );
  return effects.map(({ effect }) => effect);
}

/** As `evidence verify` sees it: the chain, every signature, effects after approvals, the report. */
export async function faultsOf(
  world: World,
  { site, move }: { site: string; move: string },
  signal: AbortSignal,
): Promise<string[]> {
  await sealed(world.urlOf(site), move);
  const configuration = await readConfiguration(world.stack.configuration);
  const customer = configuration.customers.get(world.customer);
  if (!customer) throw new Error(`no customer ${world.customer}`);
  const journals = await openJournals(configuration, customer, { site, signal });
  try {
    const found = journals.moves.find((m) => m.move === move);
    if (!found) return ['the vault does not have it'];
    const { value, from } = await readFirst(found, readSealed);
    const about = { format: 1, customer: customer.id, move, site: found.site, readFrom: from } as const;
    const evidence = { ...about, exportedAt: '', publicKeys: {}, ...value };
    const verdicts = judgeEvidence(evidence, publicKeysOf(configuration), fingerprint);
    return verdicts.filter((v) => !v.ok).map((v) => `${v.check}: ${v.seen}`);
  } finally {
    journals.close();
  }
}

async function sealed(url: string, move: string): Promise<void> {
  const query = `select from tandem.move where move = '${move}' and sealed_at is not null`;
  for (const deadline = Date.now() + SEALED_LIMIT_MS; (await sql(url, query)).length === 0;) {
    if (Date.now() > deadline) throw new Error(`its evidence was not sealed within ${SEALED_LIMIT_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
