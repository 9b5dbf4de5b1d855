import type { PoolClient } from 'pg';
import type { Right } from '../../workflows/model/rights.ts';

/** What this site's own database says of halves: whose each is to serve. One that it says nothing of is not in the answer. */
export async function readRights(
  client: Pick<PoolClient, 'query'>,
  customer: string,
  halves: readonly string[],
  lock: '' | 'for share' | 'for update' = '',
): Promise<ReadonlyMap<string, Right>> {
  const { rows } = await client.query<{ half: string; site: string; epoch: string }>(
    `select half, site, epoch::text from tandem.serving where customer = $1 and half = any($2) order by half ${lock}`,
    [customer, halves],
  );
  return new Map(rows.map(({ half, site, epoch }) => [half, { site, epoch: Number(epoch) }]));
}

/** For people. */
export const tellRight = (half: string, right: Right | undefined): string =>
  `${half} is ${right?.site ?? 'nobody'}'s to serve under epoch ${right?.epoch ?? 'none'}`;
