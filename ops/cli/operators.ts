import type { Finding } from '../../activities/vault/bucket.ts';
import type { Configuration } from '../config/configuration.ts';
import { operatorWarnings, tooFewKeys } from '../operators.ts';
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

/** What `status` says of them; nothing when all is well. */
export function tellOperators({ out }: Context, { operators }: Configuration): void {
  const warnings = operatorWarnings(operators, Date.now());
  const lines = warnings.map((w) => `OPERATOR ${w.operator}: ${w.text}. Try: ${w.try}`);
  if (warnings.length > 0) out.answer({ operators: warnings }, lines);
}
