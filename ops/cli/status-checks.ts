import { CHECK_AGE_MS, type VaultCheck } from '../../workflows/model/checks.ts';
import { duration } from '../../workflows/model/rto.ts';
import { ageMs } from '../../workflows/model/snapshots.ts';

/** Both sites see both vaults, one of them perhaps a moment later. */
export function newestByVault(checks: VaultCheck[]): VaultCheck[] {
  const sorted = checks.toSorted((a, b) => (a.checkedAt ?? '').localeCompare(b.checkedAt ?? ''));
  return [...new Map(sorted.map((check) => [check.vault, check])).values()];
}

/** What a screen says of the checks of one half's snapshots. */
export function checkLines({ half, checks }: { half: string; checks: VaultCheck[] }): string[] {
  return checks.flatMap(({ vault, checkedAt, damaged, strays }) => {
    const lines: string[] = [];
    const what = `the snapshots of the users of ${half} in the vault of ${vault}`;
    const [first] = damaged;
    if (first) lines.push(`DAMAGED: ${damaged.length} objects of ${what}: ${first.because}`);
    if (strays && strays.versions + strays.markers + strays.unknown > 0)
      lines.push(
        `STRAYS beside ${what}: ${strays.versions} versions over a key, ${strays.markers} delete markers, ${strays.unknown} unknown keys: ${strays.keys[0] ?? ''}`,
      );
    const age = checkedAt === null ? 0 : ageMs(checkedAt, Date.now());
    if (age > CHECK_AGE_MS)
      lines.push(`CHECK: ${what} were last opened ${duration(age)} ago, limit ${duration(CHECK_AGE_MS)}`);
    return lines;
  });
}
