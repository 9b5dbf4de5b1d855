import type { Cursor } from '../../runbooks/yaml.ts';

/** Two names for one thing: each site, operator or database must be its own. */
export function unique(at: Cursor, pairs: [string, string][], what: string): void {
  const first = new Map<string, string>();
  for (const [value, name] of pairs) {
    const other = first.get(value);
    if (other !== undefined && value !== '') at.fault(`${other} and ${name} have ${what}; each needs its own`);
    first.set(value, name);
  }
}
