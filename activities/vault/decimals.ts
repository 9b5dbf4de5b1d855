/** PostgreSQL's order of the numbers that are no decimals: NaN is above everything. */
const special: Record<string, number> = { '-Infinity': -1, Infinity: 1, NaN: 2 };

/**
 * Compares two decimals of any length, as PostgreSQL prints a `numeric` in its shortest form. A JavaScript number would
 * round them. NULL comes last.
 */
export function compareDecimals(a: string | null, b: string | null): number {
  if (a === b) return 0;
  if (a === null || b === null) return a === null ? 1 : -1;
  const rankA = special[a] ?? 0;
  const rankB = special[b] ?? 0;
  if (rankA !== 0 || rankB !== 0) return rankA - rankB;
  const signA = a.startsWith('-') ? -1 : 1;
  const signB = b.startsWith('-') ? -1 : 1;
  return signA === signB ? signA * compareMagnitudes(a, b) : signA - signB;
}

function compareMagnitudes(a: string, b: string): number {
  const [wholeA = '', fractionA = ''] = a.replace('-', '').split('.');
  const [wholeB = '', fractionB = ''] = b.replace('-', '').split('.');
  if (wholeA.length !== wholeB.length) return wholeA.length - wholeB.length;
  if (wholeA !== wholeB) return wholeA < wholeB ? -1 : 1;
  // Digits after the point compare like words: a shorter one that is a beginning of the other is smaller.
  if (fractionA === fractionB) return 0;
  return fractionA < fractionB ? -1 : 1;
}
