import type { Finding } from '../../activities/vault/bucket.ts';
import type { Configuration } from '../config/configuration.ts';
import { sitesHere } from '../config/here.ts';
import { operatorWarnings, tooFewKeys } from '../operators.ts';
import { Database } from '../../activities/contacts/database.ts';
import { readOperators } from '../../activities/services/operators.ts';
import { siteOf } from './site.ts';
import type { Context } from './print.ts';

/** What `doctor` says of a configuration's operators. */
export function operatorFindings({ file, operators }: Configuration): Finding[] {
  const few = tooFewKeys(operators, Date.now());
  const advice = '`tandem keys new operator --id ID --out FILE` makes a key';
  return [
    ...(few === null ? [] : [{ severity: 'error' as const, subject: file, observed: few, try: advice }]),
    ...operatorWarnings(operators, Date.now()).map((w) => ({
      severity: 'warning' as const,
      subject: `operator ${w.operator}`,
      observed: w.text,
      try: w.try,
    })),
  ];
}

/** Operators of the configuration whom a database does not count; nothing of one that does not answer: others say that. */
export async function unadmitted(configuration: Configuration, site: string): Promise<Finding[]> {
  const { customers } = await siteOf(configuration, site).settings();
  const found = await Promise.allSettled(
    [...customers.values()].map(async ({ id: customer, databaseUrl }) => {
      const name = `database of ${customer} at ${site}`;
      const database = new Database(name, databaseUrl, { connections: 1, connectMs: 3000, statementMs: 3000 });
      try {
        const { notAdmitted } = await readOperators(database, configuration.operators);
        return notAdmitted.map(({ operator, because }) => ({
          severity: 'warning' as const,
          subject: `operator ${operator}`,
          observed: `does not count for ${customer} at ${site}: ${because}`,
          try: `\`tandem keys admit --operator ${operator} --by ID --key FILE\`, twice; then restart the workers`,
        }));
      } finally {
        await database.close();
      }
    }),
  );
  return found.flatMap((f) => (f.status === 'fulfilled' ? f.value : []));
}

/** What `status` says of them; nothing when all is well. */
export async function tellOperators({ out }: Context, configuration: Configuration): Promise<void> {
  const sites = await Promise.all((await sitesHere(configuration)).map((site) => unadmitted(configuration, site)));
  const findings = [...operatorFindings(configuration), ...sites.flat()];
  const lines = findings.map((f) => `OPERATORS: ${f.subject}: ${f.observed}. Try: ${f.try}`);
  if (findings.length > 0) out.answer({ operators: findings }, lines);
}
