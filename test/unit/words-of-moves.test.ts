import { describe, expect, it } from 'vitest';
import { brief } from '../../ops/cli/failover-brief.ts';
import { planScreen } from '../../ops/cli/failover-plan.ts';
import { reportHtml, reportNotice } from '../../ops/report-html.ts';
import { actRules, acts } from '../../workflows/model/acts.ts';
import { actsForCustomers } from '../../workflows/model/acts-for-customers.ts';
import { failures, type FailureKind } from '../../workflows/model/failure-table.ts';
import { whereToLook } from '../../workflows/model/forecast.ts';
import type { FailoverReport } from '../../workflows/model/moves.ts';
import { transitions } from '../../workflows/model/phases.ts';
import { details } from '../../workflows/move/details.ts';
import { pageText } from '../../workflows/move/page-text.ts';
import { kinds, situations, statusAt } from '../cli/situations.ts';

/** A site that is worked on is not lost, and nobody who reads that it is acts well. */

/** What only a failover may be told in. */
const OF_FAILOVERS = /tandem failover|\bfence|\blost\b|\bloss\b|survivor|further epoch|\bRTO\b|recovery point/i;
/** What only a planned move may be told in. */
const OF_PLANNED = /tandem (relocate|failback)|as planned|Nothing is lost/i;

const screens = (kind: (typeof kinds)[number]): [string, string][] =>
  Object.entries(situations).flatMap(([name, change]) =>
    [...new Set(transitions.map(({ because }) => because))].flatMap((because): [string, string][] => {
      const s = statusAt(kind, change, because);
      return [
        [`${name}: Temporal UI`, details(s)],
        [`${name}: page`, pageText(s, 'news')],
        [`${name}: brief`, brief(s, Date.parse(s.declaredAt)).join('\n')],
        [`${name}: watch`, [...planScreen(s), s.waitsFor, s.next ?? ''].join('\n')],
      ];
    }),
  );

describe('the words of a move', () => {
  it.each(['relocate', 'failback'] as const)('that is a %s are none of a failover, on any screen or page', (kind) => {
    for (const [where, text] of screens(kind)) {
      const rest = text.replaceAll(/Nothing is lost|no site is lost/g, '');
      expect([where, OF_FAILOVERS.exec(rest)?.[0]]).toEqual([where, undefined]);
    }
  });

  it('that is a failover are none of a planned one', () => {
    for (const [where, text] of screens('failover'))
      expect([where, OF_PLANNED.exec(text)?.[0]]).toEqual([where, undefined]);
  });

  it('name the command of its own kind wherever they name one', () => {
    for (const kind of kinds)
      for (const [where, text] of screens(kind))
        for (const [, group] of text.matchAll(/tandem (failover|relocate|failback)/g))
          expect([where, group]).toEqual([where, kind]);
  });

  it('are read where to look and what a step brings without knowing of which kind it is', () => {
    for (const act of acts.filter((a) => actRules[a].kinds.includes('relocate')))
      expect([act, OF_FAILOVERS.exec(`${whereToLook[act]} ${actsForCustomers[act]}`)?.[0]]).toEqual([act, undefined]);
  });
});

/** Only a failover can fail so. */
const failoverOnly: readonly FailureKind[] = ['source-serves', 'isolation-unknown', 'wrong-direction'];

it('what is to be done about a failure names no command of one kind of move, where any can fail so', () => {
  const wrong = Object.entries(failures)
    .filter(([kind]) => !failoverOnly.includes(kind as FailureKind))
    .filter(([, { try: advice }]) =>
      /tandem (failover|relocate|failback)|\bfailover\b|lost site|survivor|fence/.test(advice),
    );
  expect(wrong).toEqual([]);
});

describe('a plan that nobody can sign', () => {
  it('is said to be one, with what stands against it and what to do, and asks nobody to sign', () => {
    for (const kind of kinds) {
      const s = statusAt(kind, situations['blocked'], transitions.find((t) => t.on === 'plan-blocked')?.because);
      for (const text of [brief(s, 0).join('\n'), details(s), planScreen(s).join('\n')]) {
        expect(text).toContain('west: its vault does not answer');
        expect(text).toContain('NOBODY CAN SIGN IT as it is. Mend what stands against it');
        expect(text).not.toMatch(/two operators (read and )?sign|Sign by|may sign/);
      }
      expect(s.next).toMatch(new RegExp(`^tandem ${kind} abort `));
    }
  });
});

describe('the report of a planned move', () => {
  const step = (id: string, state: string, summary = ''): object => ({
    id,
    act: 'take-snapshot',
    state,
    endedAt: null,
    summary,
    facts: {},
  });
  const report = (change: object): FailoverReport =>
    ({
      kind: 'failback',
      customer: 'x',
      move: 'm1',
      from: 'west',
      to: 'east',
      epoch: null,
      outcome: 'aborted',
      reason: 'the hall is back',
      requestedBy: 'al',
      declaredAt: '2030-01-01T00:00:00.000Z',
      disruptedAt: '2030-01-01T00:00:00.000Z',
      approvedAt: null,
      servedAt: null,
      endedAt: '2030-01-01T00:10:00.000Z',
      planDigest: 'd',
      approvals: [],
      steps: [],
      alarms: [],
      notes: [],
      notTested: [],
      journalHead: 'h',
      ...change,
    }) as unknown as FailoverReport;
  const shown = (change: object): string => `${reportHtml(report(change))}\n${reportNotice(report(change))}`;

  it('has no row for a step that did not begin, and no word of a failover', () => {
    const html = shown({ steps: [step('copy', 'failed', 'no answer'), step('last', 'waiting')] });
    expect(html).toContain('<td>no answer</td>');
    expect(html).not.toContain('<td>waiting</td>');
    expect(html).toContain('steps that did not begin: last (take-snapshot)');
    expect(shown({ steps: [step('last', 'waiting')] })).toContain('<p>None began.</p>');
    for (const outcome of ['closed', 'closed-with-gaps', 'aborted', 'turned-back'])
      expect([outcome, OF_FAILOVERS.exec(shown({ outcome }))?.[0]]).toEqual([outcome, undefined]);
  });

  it('says of one that could not be planned that it was refused', () => {
    expect(shown({ planDigest: null })).toContain('The move was refused before it began: nobody was moved.');
  });
});
