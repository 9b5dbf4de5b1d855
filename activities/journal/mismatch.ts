/** A check of evidence that does not hold, in one sentence for people. */
export class Mismatch extends Error {}
