/** What is there before a continuity test, and after it: whatever has come or gone meanwhile was left by the test. */

export interface Inventory {
  /** Scratch databases of this customer on its server, by name. */
  databases: string[];
  /** Schemas of the customer's database. */
  schemas: string[];
  /** Rows of the tables of schema `tandem` that only a move writes. */
  rows: Record<string, number>;
  /** Whose each half is to serve, and who is in each cohort, as a digest. Older builds did not look. */
  rights?: Record<string, string>;
  /** Files of the data mover in the machine's temporary folder. */
  files: string[];
  /** Keys below the prefix of tests in this site's vault: receipts of tests before this one. */
  objects: string[];
}

export interface Residue {
  /** What is left, each with what removes it. */
  left: string[];
  /** What was removed before it began, of runs that died. */
  removed: string[];
}

const kinds: { of: 'databases' | 'schemas' | 'files' | 'objects'; what: string; remedy: string }[] = [
  { of: 'databases', what: 'database', remedy: 'the next test removes it, or `drop database NAME` on that server' },
  { of: 'schemas', what: 'schema', remedy: 'look who made it, then `drop schema NAME` in the contact database' },
  { of: 'files', what: 'file', remedy: 'no process uses it any more: delete it on the machine of the worker' },
  {
    of: 'objects',
    what: 'object',
    remedy: 'keep it as evidence until it is known who wrote it; a vault is only added to',
  },
];

/**
 * `moved`: a move has begun meanwhile, whose own rows are none of the test's. `back`: what has moved was the test's own, and is to be
 * where it was.
 */
export function leftBy(before: Inventory, after: Inventory, { moved = false, back = false } = {}): string[] {
  const found: string[] = [];
  for (const { of, what, remedy } of kinds) {
    for (const name of after[of]) if (!before[of].includes(name)) found.push(`${what} ${name} is left: ${remedy}`);
    for (const name of before[of])
      if (!after[of].includes(name)) found.push(`${what} ${name} is gone: look who removed it`);
  }
  if (!moved || back) found.push(...elsewhere(before.rights ?? {}, after.rights ?? {}));
  if (moved || back) return found;
  for (const table of new Set([...Object.keys(before.rows), ...Object.keys(after.rows)])) {
    const [was, is] = [before.rows[table] ?? 0, after.rows[table] ?? 0];
    if (was !== is)
      found.push(`tandem.${table} has ${is} rows, before it were ${was}: only a move writes there; \`tandem status\``);
  }
  return found;
}

function elsewhere(before: Record<string, string>, after: Record<string, string>): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .toSorted()
    .filter((half) => before[half] !== after[half])
    .map(
      (half) =>
        `users of ${half}: ${after[half] ?? 'are no half any more'}, before it ${before[half] ?? 'they were none'}: \`tandem status\``,
    );
}
