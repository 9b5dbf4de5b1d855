import { beforeAll, describe, expect, it } from 'vitest';
import type { ReconciledUser } from '../../activities/services/reconcile.ts';
import { foresee, type Foreseen } from './oracle.ts';
import { nobody, plain, type Person } from './people.ts';
import { AWAY_DAYS, LATE, NEW, Week, type Cleaned, type Home } from './story.ts';

/** One story, and then what is claimed of it. `npm run walk -- --only week` tells it of more people, more days and other seeds. */

const size = { users: 60, days: 7, seed: 20_260_301, ...(JSON.parse(process.env['TANDEM_WEEK'] ?? '{}') as object) };
const { users, days } = size;
const compare = (a: string, b: string): number => (a < b ? -1 : 1);
let week: Week;
beforeAll(async () => {
  week = await Week.tell(size);
}, 600_000);

const threeOf = (who: string, { survivor }: Home) => ({
  base: week.base.get(who) ?? null,
  survivor: survivor.get(who) ?? nobody(),
  disk: week.disk.get(who) ?? null,
});
const foreseen = (who: string, one: Home): Foreseen | null => foresee(threeOf(who, one), one.rule);
const each = (): { who: string; one: Home; person: Person }[] =>
  week.homes.flatMap((one) => [...one.home].map(([who, person]) => ({ who, one, person })));
/** Of what the oracle foresees the reasons, as the list of a move has them. */
function told({ differences }: Pick<ReconciledUser, 'differences'>): Set<string> {
  return new Set(
    differences.flatMap(({ kind, key, why }) => {
      if (kind === 'contact' || kind === 'group') return [`${kind} ${key.join(' ')} ${why}`];
      if (kind !== 'item') return [];
      const [list, type, value, action, flags] = key;
      return [`item ${JSON.stringify([list, type, value, action, flags?.[0] === 't'])} ${why}`];
    }),
  );
}
const blockLists = ({ items, lists, fallback, numbered }: Person): string =>
  JSON.stringify([[...items].toSorted(), [...lists].toSorted(), fallback, numbered]);

describe('after a week at the other site', () => {
  it('nobody’s contact or denial, of either side, is lost without being listed', () => {
    const lost: string[] = [];
    for (const { who, one, person } of each()) {
      const { base: from, survivor, disk: there } = threeOf(who, one);
      const listed = told(one.listed.get(who) ?? { differences: [] });
      const isListed = (key: string): boolean => [...listed].some((line) => line.startsWith(`${key} `));
      for (const item of [...survivor.items, ...(there?.items ?? [])])
        if (!person.items.has(item) && from?.items.has(item) !== true) lost.push(`${who}: ${item}`);
      for (const [jid, row] of survivor.contacts)
        if (person.contacts.get(jid) !== row && !isListed(`contact ${jid}`))
          lost.push(`${who}: ${jid} of the survivor`);
      for (const group of [...survivor.groups, ...(there?.groups ?? [])])
        if (!person.groups.has(group) && from?.groups.has(group) !== true && !isListed(`group ${group}`))
          if (!isListed(`contact ${group.split(' ')[0]}`)) lost.push(`${who}: ${group}`);
      for (const [jid, row] of there?.contacts ?? [])
        if (from?.contacts.get(jid) !== row && person.contacts.get(jid) !== row && !isListed(`contact ${jid}`))
          lost.push(`${who}: ${jid} of the disk`);
    }
    expect(lost).toEqual([]);
  });

  it('everybody has at home what a reckoning of its own comes to, by the rule of his move', () => {
    const wrong: unknown[] = [];
    for (const { who, one, person } of each()) {
      const expected = foreseen(who, one)?.person ?? one.survivor.get(who) ?? nobody();
      const contacts = new Map(expected.contacts);
      if (one.late.has(who)) contacts.set(LATE, person.contacts.get(LATE) ?? 'missing');
      const [is, ought] = [plain(person), plain({ ...expected, contacts })];
      if (JSON.stringify(is) !== JSON.stringify(ought))
        wrong.push({ who, rule: one.rule, is, ought, ...threeOf(who, one) });
    }
    expect(wrong).toEqual([]);
    expect(each().length).toBe(users + 1); // One has left, two have come.
    // That it was a story worth telling.
    const why = week.homes.map(({ listed }) =>
      [...listed.values()].flatMap(({ differences }) => differences.map((d) => d.why)),
    );
    for (const [n, reasons] of [
      ['one-sided', 'conflict'],
      ['one-sided', 'conflict'],
      ['one-sided', 'open'],
    ].entries())
      expect(why[n]).toEqual(expect.arrayContaining([...reasons, 'alike', 'deny-kept']));
  });

  it('every difference is in the list of its move, by user, with its reason; and nothing that is none', () => {
    const wrong: unknown[] = [];
    for (const { who, one } of each()) {
      const [found, due] = [one.listed.get(who), foreseen(who, one)];
      const three = threeOf(who, one);
      if (found === undefined) {
        if (due) wrong.push({ who, missing: [...due.listed] });
        continue;
      }
      const [is, ought] = [[...told(found)].toSorted(), [...(due?.listed ?? [])].toSorted()];
      if (JSON.stringify(is) !== JSON.stringify(ought)) wrong.push({ who, is, ought });
      const lists = found.differences.filter(({ kind }) => ['list', 'default', 'order'].includes(kind));
      const versions = new Set([three.base ?? nobody(), three.survivor, three.disk ?? nobody()].map(blockLists));
      if (lists.length > 0 && versions.size === 1) wrong.push({ who, lists });
      if (is.length + lists.length === 0) wrong.push({ who, listed: 'without a difference' });
    }
    expect(wrong).toEqual([]);
    const strangers = week.homes.flatMap(({ home, listed }) => [...listed.keys()].filter((who) => !home.has(who)));
    expect(strangers).toEqual([]);
  });

  it('each site is a copy of the other, and nobody who has left is let in', () => {
    const texts = (people: ReadonlyMap<string, Person>): string[] =>
      [...people].map(([who, person]) => JSON.stringify([who, plain(person)])).toSorted(compare);
    expect(texts(week.end.east)).toEqual(texts(week.end.west));
    expect(week.followed.toSorted(compare)).toEqual(['east', 'east/first', 'east/second']);
    expect(week.end.east.has(NEW.gone)).toBe(false);
    expect(week.end.east.get(NEW.later)?.contacts.has('p2@x.example')).toBe(true);
    expect(week.end.east.get(NEW.unsent)?.items.size).toBe(1);
  });
});

describe('retention meanwhile', () => {
  const ofBase = (): string[] => week.cleaned.map(({ day, at, fates }) => `${day} ${at} ${fates.get(week.baseGen)}`);

  it('never deletes what both sides began with, nor what was salvaged, before the last user is home', () => {
    const early = week.cleaned.filter(({ day }) => day <= days + AWAY_DAYS);
    expect(early.filter(({ fates }) => !['kept', 'pinned'].includes(fates.get(week.baseGen) ?? ''))).toEqual([]);
    expect(early.filter(({ day }) => day === days + AWAY_DAYS).map(({ fates }) => fates.get(week.baseGen))).toEqual([
      'pinned',
      'pinned',
    ]);
    expect(early.map(({ salvages }) => salvages.deleted + salvages.expired)).toEqual(early.map(() => 0));
    expect(early.findLast(({ at }) => at === 'east')?.salvages.pinned).toBe(1);
  });

  it('deletes what is past its keeping, on the first day on which it is, and the rest when they are home', () => {
    const deleted = (of: (one: Cleaned) => boolean): number =>
      week.cleaned.filter(of).flatMap(({ fates }) => [...fates.values()].filter((fate) => fate === 'deleted')).length;
    // Of the three generations of the seven weeks before, one is past it on the first day, and none in the days after.
    expect(deleted(({ day, at }) => day === 1 && at === 'west')).toBe(1);
    expect(deleted(({ day, at }) => day > 1 && day <= days && at === 'west')).toBe(0);
    expect(deleted(({ day }) => day === days + AWAY_DAYS)).toBeGreaterThan(0);
    expect(ofBase().slice(-2)).toEqual([
      `${days + AWAY_DAYS + 2} west deleted`,
      `${days + AWAY_DAYS + 2} east deleted`,
    ]);
    expect(week.cleaned.at(-1)?.salvages).toMatchObject({ deleted: 1, pinned: 0 });
  });
});
