import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { judgeEvidence, type Evidence, type Verdict } from '../../activities/journal/evidence.ts';
import { sha256 } from '../../activities/vault/signed.ts';
import { fingerprint } from '../../ops/evidence.ts';
import type { JournalEntry } from '../../workflows/model/moves.ts';
import { canonicalJson, type Decisions } from '../../workflows/model/plan.ts';
import { makeWorld, type World } from '../failover-acts/world.ts';
import { at, entryOf, nth, tell, type Draft } from './story.ts';

/** What an auditor is told of approvals that the site has written down, and that do not count. */

let world: World;
beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());

const judge = (evidence: Evidence): Verdict[] => judgeEvidence(evidence, world.settings.publicKeys, fingerprint);
const failed = (verdicts: Verdict[]): string[] => verdicts.filter((v) => !v.ok).map((v) => v.check);
const seen = (verdicts: Verdict[], check: string): string => verdicts.find((v) => v.check === check)?.seen ?? '';

describe('evidence is refused', () => {
  const endingAt = (seconds: number) => (d: Decisions) => ({
    approvers: d.approvers.map((a) => (a.id === 'bo' ? { ...a, expires: at(seconds) } : a)),
  });
  it('with the word of one whose key had ended by then, and of one whose key ended before the steps began', async () => {
    const late = judge(await tell(world, undefined, endingAt(12)));
    expect(seen(late, 'operators')).toContain('the key of bo expired at 2026-03-01T04:00:12.000Z');
    const between = judge(await tell(world, undefined, endingAt(15)));
    expect(failed(between)).toEqual(['approvals']);
    expect(seen(between, 'approvals')).toContain('approval of al (commander);');
    expect(failed(judge(await tell(world, undefined, endingAt(21))))).toEqual([]);
  });

  it('with an approval that does not accept what its plan asks', async () => {
    const asking = (): Partial<Decisions> => ({ acceptances: ['data-loss 20h12m'] });
    const silent = judge(await tell(world, undefined, asking));
    expect(seen(silent, 'operators')).toContain('whoever approves this plan accepts data-loss 20h12m');
    const accepting = (d: Draft): void => {
      for (const [i, by] of [
        [4, 'al'],
        [5, 'bo'],
      ] as const)
        d.entries[i] = d.sign(by, { accepts: ['data-loss 20h12m'] });
    };
    expect(failed(judge(await tell(world, accepting, asking)))).toEqual([]);
  });

  describe('of one who went on alone', () => {
    /** Al breaks the glass at 13 s and is paged for at 14; the steps begin ten minutes later. */
    const alone =
      (change: (d: Draft, page: Record<string, unknown>) => void, by = 'al') =>
      (d: Draft) => {
        const word = d.sign(by, { breakGlass: true, because: 'x' });
        const { because: _, ...said } = word.body; // What was signed has no reason.
        const page = { state: 'paged', operator: by, digest: said['digest'], nonce: said['nonce'], sent: ['hook'] };
        const { move } = word;
        d.entries.splice(4, 3, { ...word, body: said }, entryOf(move, 'break-glass/0', 'break-glass', 14, page));
        d.entries.splice(6, 0, entryOf(move, 'phase/6', 'phase', 614, { phase: 'moving' }));
        change(d, page);
      };
    const judged = async (change: Parameters<typeof alone>[0], by?: string): Promise<string> =>
      seen(judge(await tell(world, alone(change, by))), 'approvals');

    it.each<[string, Parameters<typeof alone>[0], RegExp]>([
      ['without a page', (d) => void d.entries.splice(5, 1), /nobody was paged for this plan/],
      ['with a page that nothing took', (_, page) => void (page['sent'] = []), /nobody was paged for this plan/],
      ['with the page for another word', (_, page) => void (page['nonce'] = 'ab'.repeat(16)), /nobody was paged/],
      [
        'a second too early',
        (d) => void (d.entries[6] = { ...nth(d.entries, 6), at: at(613) }),
        /stood for 10 minutes$/,
      ],
      ['an hour too late', (d) => void (d.entries[6] = { ...nth(d.entries, 6), at: at(3700) }), /approval of nobody/],
      [
        'though it was stopped',
        (d) => void d.entries.splice(6, 0, { ...d.sign('bo', { verb: 'veto' }), at: at(553) }),
        /bo stopped it$/,
      ],
    ])('%s', async (_, change, told) => {
      expect(await judged(change)).toMatch(told);
    });
    it('and is no commander', async () => {
      const verdicts = judge(
        await tell(
          world,
          alone(() => undefined, 'bo'),
        ),
      );
      expect(seen(verdicts, 'operators')).toContain('bo may not break the glass');
      expect(failed(verdicts)).toContain('approvals');
    });
    it('after another plan had been made: what was signed is void, whoever signed it', async () => {
      const between = (d: Draft): JournalEntry[] => {
        const plan = nth(d.entries, 2);
        const another = { ...d.decisions, users: 9 };
        const changed = { ...plan.body, digest: sha256(canonicalJson(another)), decisions: another };
        return [
          { ...plan, key: 'planned/x', body: changed },
          { ...plan, key: 'planned/y' },
        ];
      };
      expect(await judged((d) => void d.entries.splice(6, 0, ...between(d)))).toMatch(/approval of nobody/);
      const two = judge(await tell(world, (d) => void d.entries.splice(6, 0, ...between(d))));
      expect(seen(two, 'approvals')).toMatch(/approval of nobody/);
    });
    it('holds, and says so loudly', async () => {
      const verdicts = judge(
        await tell(
          world,
          alone(() => undefined),
        ),
      );
      expect(failed(verdicts)).toEqual([]);
      expect(seen(verdicts, 'approvals')).toMatch(/^al ALONE, by break-glass: paged by hook at 2026-03-01T04:00:14/);
    });
  });
});
