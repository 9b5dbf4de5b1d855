import type { FailureKind } from '../workflows/model/failures.ts';

/**
 * What becomes a failure where a database's errors do. For code that threads run as well: the library that failures are
 * made with is not worth loading in each of them.
 */
export class PlainFault extends Error {
  readonly kind: FailureKind;

  constructor(kind: FailureKind, message: string) {
    super(message);
    this.kind = kind;
  }
}
