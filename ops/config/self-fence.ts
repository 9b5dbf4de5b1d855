import type { Cursor } from '../../runbooks/yaml.ts';

/** A worker that starts, and a link that is lost for a moment, must not close a site. */
const LEAST_MS = 60_000;

/**
 * `customers.CUSTOMER.self-fence`: after so long without its peer and without the witness a site closes itself; null when it
 * never does. Two sites that only see each other no more would both close, and nobody be served: it takes a witness.
 */
export function selfFenceOf(at: Cursor, hasWitness: boolean): number | null {
  if (!at.present) return null;
  const ms = at.duration();
  if (ms > 0 && ms < LEAST_MS) at.fault(`${at.seen()}; 1m at the least`);
  if (!hasWitness)
    at.fault(
      `${at.seen()}; it needs a witness: without one both sites would close whenever the link between them is lost`,
    );
  return ms;
}
