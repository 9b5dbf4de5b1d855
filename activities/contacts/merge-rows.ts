import type { ConflictRule } from '../../workflows/model/planned-move.ts';
import type { Row } from '../vault/record.ts';

export type Side = 'survivor' | 'salvage';

/** Why something is as it is after a merge, where the three versions are not one. */
export type Why =
  /** Only that side has changed it since the snapshot. */
  | 'one-sided'
  /** Both have, to the same. */
  | 'alike'
  /** Both have, each in its way: by the rule that was picked. */
  | 'conflict'
  /** The same, and the rule is to ask: it is as the survivor has it until somebody decides. */
  | 'open'
  /** One side has taken a denial back, or put something before it; on the other side it stands, and so it does now. */
  | 'deny-kept'
  /** He is gone from the directory of the survivor. */
  | 'gone'
  /** The salvage does not know him, and so has no word about him. */
  | 'not-salvaged';

/** Something that is not the same in all three versions. `key` is personal data: for files of operators only. */
export interface MergeDifference {
  kind: 'user' | 'contact' | 'group' | 'list' | 'item' | 'order' | 'default';
  key: readonly (string | null)[];
  /** The side whose version stands now; `both`: it is made of both. */
  won: Side | 'both';
  why: Why;
}

export interface Three<T> {
  base: T;
  survivor: T;
  salvage: T;
}

/** Which of three values stands. Texts are compared. */
export function pick(
  { base, survivor, salvage }: Three<string>,
  rule: ConflictRule,
): { won: Side; why: 'one-sided' | 'alike' | 'conflict' | 'open' } | null {
  if (survivor === salvage) return survivor === base ? null : { won: 'survivor', why: 'alike' };
  if (salvage === base) return { won: 'survivor', why: 'one-sided' };
  if (survivor === base) return { won: 'salvage', why: 'one-sided' };
  if (rule === 'ask') return { won: 'survivor', why: 'open' };
  return { won: rule === 'home' ? 'salvage' : 'survivor', why: 'conflict' };
}

/** Rows of one kind by a key that they may share, in the order of their texts. */
export function rowsBy(rows: readonly Row[], keyOf: (row: Row) => string): Map<string, Row[]> {
  return Map.groupBy(sortRows(rows), keyOf);
}

/** By their texts, each of which is made once: a few hundred users with a few hundred rows each are sorted while people wait. */
export function sortRows(rows: readonly Row[]): Row[] {
  if (rows.length < 2) return [...rows];
  const texts = rows.map((row) => ({ row, text: JSON.stringify(row) }));
  return texts.toSorted((a, b) => compareTexts(a.text, b.text)).map(({ row }) => row);
}

/** In the same order everywhere. */
export const compareTexts = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export function threeBy(rows: Three<readonly Row[]>, keyOf: (row: Row) => string): Map<string, Three<Row[]>> {
  const base = rowsBy(rows.base, keyOf);
  const survivor = rowsBy(rows.survivor, keyOf);
  const salvage = rowsBy(rows.salvage, keyOf);
  const keys = [...new Set([...base.keys(), ...survivor.keys(), ...salvage.keys()])].toSorted(compareTexts);
  return new Map(
    keys.map((key) => [
      key,
      { base: base.get(key) ?? [], survivor: survivor.get(key) ?? [], salvage: salvage.get(key) ?? [] },
    ]),
  );
}

export const textsOf = <T>({ base, survivor, salvage }: Three<T>): Three<string> => ({
  base: JSON.stringify(base),
  survivor: JSON.stringify(survivor),
  salvage: JSON.stringify(salvage),
});
