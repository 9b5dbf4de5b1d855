/** One threshold of the clock: a share of the target or of the promise (DESIGN 4). */
export interface Alarm {
  atMs: number;
  text: string;
}

const shares = [50, 80, 95, 100];

/**
 * The alarms of an RTO clock, by time. The clock starts at the disruption, not at its declaration: SERVICE counts from
 * the disaster. All in ms since the epoch of time.
 */
export function alarms(disruptedAt: number, targetMs: number, promiseMs: number): Alarm[] {
  const of = (what: string, limitMs: number): Alarm[] =>
    shares.map((share) => ({
      atMs: disruptedAt + (limitMs * share) / 100,
      text:
        share === 100
          ? `the ${what} of ${duration(limitMs)} is over`
          : `${share} % of the ${what} of ${duration(limitMs)} is used`,
    }));
  return [...of('RTO target', targetMs), ...of('promised RTO', promiseMs)].toSorted((a, b) => a.atMs - b.atMs);
}

/** `2 h 05 min`, `3 min 20 s`, `1.4 s`: two units at most, as people say it. */
export function duration(ms: number): string {
  const s = Math.abs(ms) / 1000;
  const sign = ms < 0 ? '-' : '';
  if (s < 10) return `${sign}${s.toFixed(1)} s`;
  if (s < 60) return `${sign}${Math.round(s)} s`;
  const whole = Math.round(s);
  if (whole < 3600) return `${sign}${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 48 * 60) return `${sign}${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${sign}${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}
