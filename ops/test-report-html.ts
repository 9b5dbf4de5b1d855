import type { LiveWalk, PaperWalk, TestOutcome, TestReceipt, TestTimes } from '../workflows/model/continuity.ts';
import { duration } from '../workflows/model/rto.ts';
import { items, page, rows, text } from './report-page.ts';
import { count, moment } from './report-words.ts';

/** The receipt of a continuity test as one page for people who were not there. */

const outcomes: Record<TestOutcome, string> = {
  passed: 'The test passed.',
  failed: 'The test FAILED. It does not count.',
  aborted: 'The test was ended by people before it was over. It does not count.',
  superseded: 'The test made way for something more urgent. It does not count.',
};

const kinds: Record<TestReceipt['kind'], string> = {
  tabletop: 'on paper: people walked through a failover, nothing was touched. It never counts for the yearly test',
  isolated:
    'beside the service: the newest copy was restored into a database of its own and compared; nobody was moved',
  live: 'with a cohort of real users, who were moved and brought home again',
};

export function testReportHtml(r: TestReceipt): string {
  const title = `Continuity test of ${r.customer}, held at ${r.site}`;
  const took = duration(Date.parse(r.endedAt) - Date.parse(r.startedAt));
  return page({
    title,
    endedAt: moment(r.endedAt),
    outcome: outcomes[r.outcome],
    more: r.outcome === 'passed' ? '' : `${r.because}.`,
    well: r.outcome === 'passed',
    body: `<h2>What was done</h2>
${rows([
  ['Kind', kinds[r.kind]],
  ['Began', moment(r.startedAt)],
  ['Took', took],
  ...(r.snapshot
    ? ([['Copy', `number ${r.snapshot.seq} of site ${r.snapshot.site}, of ${moment(r.point)}`]] as [string, string][])
    : []),
  ...(r.despiteBlackout === undefined ? [] : ([['Inside a blackout', r.despiteBlackout]] as [string, string][])),
])}
${r.kind === 'isolated' ? proved(r) : ''}${r.live ? moved(r.live) : ''}${r.times ? objectives(r.times) : ''}${r.paper ? walked(r.paper) : ''}<h2>What was not tested</h2>
${items(r.notTested, 'Nothing is known to be left out.')}
<h2>What was left behind</h2>
${items(r.residue?.left ?? [], r.residue ? 'Nothing: what was there before is there after.' : 'Not looked at.')}
${r.residue && r.residue.removed.length > 0 ? `<p>Removed before it began:</p>${items(r.residue.removed, '')}` : ''}
`,
    evidence: `the signed receipt lies in the vaults of both sites. <code>tandem test report --customer ${text(r.customer)} --run ${text(r.run)} --out FILE</code>, then <code>tandem evidence verify FILE</code></p>
${rows([['Test', r.run]])}`,
  });
}

function moved({ cohort, went, back, hereMs, users, unserved, services }: LiveWalk): string {
  return `<h2>Who was moved</h2>
${rows([
  ['Cohort', hereMs === null ? cohort : `${cohort}, ${count(users, 'users')}`],
  ['Came by', went === null ? 'nobody came' : `move ${went}`],
  ['Not served', hereMs === null ? 'nobody has looked' : String(unserved)],
  ['Went home by', back === null ? (went === null ? 'nobody was away' : 'NOT home again') : `move ${back}`],
  ...services.map(({ service, ok, ms, because }): [string, string] => [
    service,
    ok ? `works, ${ms} ms` : `does NOT work: ${because ?? ''}`,
  ]),
])}
`;
}

function proved({ counts, mismatches, quarantined, accounts }: TestReceipt): string {
  const told: [string, string][] = [
    [
      'Restored',
      `${count(counts.users, 'users')}, ${count(counts.contacts, 'contacts')}, ${count(counts.aclItems, 'entries of block lists')}`,
    ],
    [
      'Compared',
      mismatches === 0 ? 'every row: none differs from the copy' : `${count(mismatches, 'rows')} DIFFER from the copy`,
    ],
  ];
  if (quarantined !== undefined)
    told.push([
      'Block lists',
      quarantined === 0
        ? 'all can be read'
        : `of ${count(quarantined, 'users')} cannot be read: they would wait for an operator`,
    ]);
  if (accounts)
    told.push([
      'Accounts',
      `${accounts.users - accounts.without} of ${count(accounts.users, 'users')} have one at this site`,
    ]);
  return `<h2>What was proved</h2>\n${rows(told)}\n`;
}

const kept = (ms: number, limitMs: number): string =>
  `${duration(ms)} of ${duration(limitMs)} allowed${ms <= limitMs ? '' : ': NOT kept'}`;

function objectives({
  restoreMs,
  compareMs,
  forecastMs,
  rtoMs,
  targetRtoMs,
  pointAgeMs,
  rpoMs,
  tookOver,
}: TestTimes): string {
  const told: [string, string][] = [];
  if (pointAgeMs !== null)
    told.push([
      'Age of the copy',
      tookOver ? `${duration(pointAgeMs)}: the users are served here, it grows no younger` : kept(pointAgeMs, rpoMs),
    ]);
  if (restoreMs !== null) told.push(['Restoring it', kept(restoreMs, rtoMs)]);
  if (compareMs !== null) told.push(['Comparing it', duration(compareMs)]);
  told.push([
    'A whole failover',
    forecastMs === null
      ? 'no forecast could be made'
      : `forecast ${duration(forecastMs)} after the signatures; aimed at ${duration(targetRtoMs)}, promised ${duration(rtoMs)}`,
  ]);
  return `<h2>Times against what is promised</h2>\n${rows(told)}\n`;
}

function walked({ from, to, steps, blockers, asks, people, paged, digest, forecastMs }: PaperWalk): string {
  const cells = (all: string[], tag: 'th' | 'td'): string =>
    `<tr>${all.map((c) => `<${tag}>${text(c)}</${tag}>`).join('')}</tr>`;
  const ofSteps = steps.map((s) =>
    cells(
      [
        s.id,
        s.act,
        s.by,
        duration(s.limitMs),
        s.forecastMs === null ? '-' : `${duration(s.forecastMs)} (${s.basis ?? ''})`,
        s.needs.join(', '),
      ],
      'td',
    ),
  );
  const ofPeople = people.map((p) =>
    cells(
      [p.id, p.what, p.confirmedBy === null ? 'NOT confirmed' : `${p.confirmedBy}, ${moment(p.confirmedAt)}`, p.note],
      'td',
    ),
  );
  return `<h2>The failover that was walked</h2>
${rows([
  ['From', from],
  ['To', to],
  ['Plan', digest ?? 'none could be made'],
  ['Forecast', forecastMs === null ? 'none' : `${duration(forecastMs)} after the signatures`],
  ['Paged', paged === null ? 'nobody was to be' : paged.join(', ') || 'NOBODY could be'],
])}
<h2>What would stop it</h2>
${items(blockers, 'Nothing: it would need signatures only.')}
<h2>What would have to be accepted</h2>
${items(asks, 'Nothing.')}
<h2>Who said that he can do his part</h2>
<table>${cells(['Step', 'What', 'Confirmed by', 'Note'], 'th')}${ofPeople.join('')}</table>
<h2>Its steps</h2>
<table>${cells(['Step', 'What', 'Who', 'Limit', 'Forecast', 'After'], 'th')}${ofSteps.join('')}</table>
`;
}
