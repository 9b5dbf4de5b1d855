/**
 * A slow proof stands in the suite in a short form: the points that differ most, and on every run the same ones. `npm run
 * test:long` runs it whole.
 */
const whole = process.env['TANDEM_TESTS'] === 'long';

/** The points of a proof: those of its short form, and those that its long form has besides. */
export function points<Point>(short: readonly Point[], besides: readonly Point[]): Point[] {
  return whole ? [...short, ...besides] : [...short];
}
