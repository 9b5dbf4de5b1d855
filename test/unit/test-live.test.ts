import { describe, expect, it } from 'vitest';
import { askedOf, isAt, type CohortStand, type MoveUnderWay } from '../../workflows/model/test-live.ts';

/** What a live test asks people to do, wherever its users are and whatever is under way with them. */

const cohort = 'east/pilot';
const home: CohortStand = { site: 'east', between: false, move: 'm', moving: null, silent: null };
const away: CohortStand = { ...home, site: 'west' };
const going = (change: Partial<MoveUnderWay> = {}): CohortStand['moving'] => ({
  move: 'r',
  kind: 'relocate',
  half: cohort,
  to: 'west',
  phase: 'moving',
  claimed: false,
  handed: false,
  ...change,
  at: 'east',
});
const coming = (change: Partial<MoveUnderWay> = {}): CohortStand['moving'] => ({
  ...(going({ move: 'f', kind: 'failback', to: 'east', ...change }) as NonNullable<CohortStand['moving']>),
  at: 'west',
});
const sign = '--operator ID --key FILE --because TEXT';
const start = (name: string, to: string): string =>
  `tandem ${name} start --customer x --half east/pilot --to ${to} --reason "live test" --requested-by ID`;

describe('a live test', () => {
  it('takes nobody to be home while a move could still take them away, or their site is not known to serve them', () => {
    expect(isAt(home, 'east')).toBe(true);
    for (const stand of [
      { ...home, moving: going({ phase: 'approving' }) },
      { ...home, moving: going({ claimed: true }) },
      { ...home, moving: coming({ phase: 'verifying', handed: true }) },
      { ...home, between: true },
      { ...home, silent: 'the database of east does not answer' },
      away,
    ])
      expect([stand, isAt(stand, 'east')]).toEqual([stand, false]);
  });

  it.each<[string, string, CohortStand, string | null]>([
    ['nobody has moved them', 'west', home, start('relocate', 'west')],
    ['they are where they are to be', 'west', away, null],
    ['their move says itself what it waits for', 'west', { ...home, moving: going() }, 'relocate watch'],
    ['another move is live', 'west', { ...home, moving: going({ half: 'east' }) }, 'relocate watch'],
    ['their site is silent', 'west', { ...home, silent: 'it does not answer' }, 'tandem status --customer x'],
    ['aborted before anybody signed', 'east', { ...home, moving: going({ phase: 'approving' }) }, 'relocate abort'],
    ['aborted before the epoch', 'east', { ...home, moving: going() }, 'relocate abort'],
    ['aborted after the epoch', 'east', { ...home, moving: going({ claimed: true }) }, 'relocate turn-back'],
    [
      'aborted while they are drained',
      'east',
      { ...home, between: true, moving: going({ claimed: true }) },
      'relocate turn-back',
    ],
    [
      'it is turned back already',
      'east',
      { ...home, between: true, moving: going({ claimed: true, phase: 'turning-back' }) },
      'relocate watch',
    ],
    [
      'aborted once they are handed over',
      'east',
      { ...away, between: true, moving: going({ claimed: true, handed: true }) },
      'relocate watch',
    ],
    ['aborted while they are looked at', 'east', { ...away, moving: going({ phase: 'verifying' }) }, 'relocate watch'],
    ['nobody brings them home', 'east', away, start('failback', 'east')],
    ['the way home is under way', 'east', { ...away, moving: coming({ claimed: true }) }, 'failback watch'],
    ['a drain was forgotten', 'east', { ...home, between: true }, 'tandem status --customer x'],
    ['they are home', 'east', home, null],
  ])('names the one command, %s', (_, to, stand, next) => {
    const asked = askedOf({ customer: 'x', cohort, to }, stand);
    const [name, verb] = next?.split(' ') ?? [];
    const at = name === 'failback' ? 'west' : 'east';
    const signed = verb === 'watch' ? '' : ` ${sign}`;
    const whole =
      next === null || next.startsWith('tandem') ? next : `tandem ${next} --customer x --site ${at}${signed}`;
    expect(asked.next).toBe(whole);
    expect(asked.because).toMatch(/users of east\/pilot/);
  });
});
