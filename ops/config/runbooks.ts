import { moveKinds, type MoveKind } from '../../workflows/model/acts.ts';
import type { Cursor } from '../../runbooks/yaml.ts';
import type { PlacedFile } from './configuration.ts';
import { fileOf } from './references.ts';

/** A customer's own runbooks, by the kind of move that each stands for. They are read when they are needed. */
export function runbooksOf(at: Cursor): ReadonlyMap<MoveKind, PlacedFile> {
  if (!at.present) return new Map();
  const fields = at.fields(moveKinds);
  return new Map(moveKinds.flatMap((kind) => (fields[kind].present ? [[kind, fileOf(fields[kind])] as const] : [])));
}
