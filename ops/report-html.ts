import { actsForCustomers } from '../workflows/model/acts-for-customers.ts';
import type { FailoverReport } from '../workflows/model/moves.ts';
import { items, page, rows, text } from './report-page.ts';
import { begun, claimed, costs, moment, notBegun, outcomeOf } from './report-words.ts';

/** A report for people who were not there: as one page, and as a notice to the customer. */

/** What was left undone, and what is never done: nobody should take silence for success. */
const leftOpen = (r: FailoverReport): string[] => [
  ...begun(r)
    .filter((s) => s.state !== 'done')
    .map((s) => `step ${s.id} (${s.act}) is ${s.state}${s.summary === '' ? '' : `: ${s.summary}`}`),
  ...notBegun(r).map((ids) => `steps that did not begin: ${ids}`),
  ...r.notTested,
];

/** Those that began; of a move that ended before its first step there is nothing to show. */
function steps(r: FailoverReport): string {
  const cells = begun(r).map((s) =>
    [s.id, s.act, s.state, s.endedAt === null ? '-' : moment(s.endedAt), s.summary].map((c) => `<td>${text(c)}</td>`),
  );
  return cells.length === 0
    ? items([], 'None began.')
    : `<table><tr><th>Step</th><th>What</th><th>How it ended</th><th>When</th><th></th></tr>${cells.map((c) => `<tr>${c.join('')}</tr>`).join('')}</table>`;
}

/** Said before all else: one person decided, or wanted to. */
function alone({ breakGlass: b }: FailoverReport): string {
  if (!b) return '';
  const paged = b.pagedAt === null ? 'nobody was paged yet' : `paged by ${b.sent.join(', ')} at ${moment(b.pagedAt)}`;
  const end =
    b.stoppedBy === null
      ? b.counted
        ? 'nobody stopped it within 10 minutes'
        : 'it did not come to that'
      : `${b.stoppedBy} stopped it`;
  const what = b.counted ? 'Approved by ONE person alone' : 'One person wanted to approve alone';
  return `<p class="outcome"><strong>${text(what)}: ${text(b.operator)} broke the glass.</strong> ${text(`${b.because}; ${paged}; ${end}.`)}</p>\n`;
}

const lostRow = (r: FailoverReport): [string, string] => ['Site lost', `${r.from}, ${moment(r.disruptedAt)}`];

/** One file that loads nothing: whatever stands in the report is shown as text. */
export function reportHtml(r: FailoverReport): string {
  const approvals = r.approvals.map((a) => `${a.operator}, ${moment(a.at)}`);
  const name = r.kind ?? 'failover';
  const title = `${name.charAt(0).toUpperCase()}${name.slice(1)} of ${r.customer}: ${r.from} to ${r.to || 'nowhere'}`;
  const planned = r.kind !== undefined;
  return page({
    title,
    endedAt: moment(r.endedAt),
    outcome: outcomeOf(r),
    well: r.outcome === 'closed',
    body: `${alone(r)}<h2>What happened, and when</h2>
${rows([
  ['Reason', r.reason],
  ...(planned ? [] : [lostRow(r)]),
  [planned ? 'Asked for' : 'Declared', `${moment(r.declaredAt)}, by ${r.requestedBy}`],
  ['Approved', moment(r.approvedAt)],
  [
    planned ? `Users served at ${r.to}` : 'Users served again',
    r.servedAt === null ? 'not by this move' : `${moment(r.servedAt)}${planned ? '' : `, at ${r.to}`}`,
  ],
  ['Ended', moment(r.endedAt)],
])}
<h2>What it cost</h2>
${rows(costs(r))}
<h2>Who approved</h2>
${items(approvals, 'Nobody: nothing was changed, or the approvals were void when it ended.')}
<h2>What was not tested${planned ? ', and what stays behind' : ' or restored'}</h2>
${items(leftOpen(r), 'Nothing is known to be open.')}
<h2>Steps</h2>
${steps(r)}
<h2>Alarms</h2>
${items(
  r.alarms.map((a) => `${moment(a.at)}: ${a.text}`),
  'None.',
)}
<h2>Notes</h2>
${items(
  r.notes.map((n) => `${moment(n.at)}, ${n.by}: ${n.text}`),
  'None.',
)}
`,
    evidence: `the signed evidence lies in the vaults of both sites. <code>tandem evidence export --customer ${text(r.customer)} --move ${text(r.move)} --out FILE</code></p>
${rows([
  ['Move', r.move],
  ['Epoch', r.epoch === null ? 'none was claimed' : `${r.epoch}${claimed(r)}`],
  ['Plan', r.planDigest ?? 'none'],
  ['Journal', r.journalHead],
])}`,
  });
}

/** For the customer: no names, and no words that were typed for operators. */
export function reportNotice(r: FailoverReport): string {
  const moved = r.servedAt !== null;
  const lines = [
    `Notice to ${r.customer}`,
    '',
    r.kind
      ? `Users of your service were to move from site ${r.from} to site ${r.to}, as planned (${r.kind}).`
      : `Site ${r.from} of your service was lost at ${moment(r.disruptedAt)}.`,
    moved
      ? `${r.kind ? 'They' : 'Its users'} have been served at site ${r.to} since ${moment(r.servedAt)}.`
      : `${r.kind ? 'They' : 'Its users'} were not moved: ${outcomeOf(r)}`,
    '',
    // What came back is of interest where somebody was moved.
    ...(moved ? costs(r) : costs(r).slice(0, 1)).map((row) => row.join(': ')),
    '',
    r.kind ? 'Not tested, or left where it was:' : 'Not tested or not restored:',
    ...(moved ? leftForCustomer(r) : ['nothing was changed by this move']).map((l) => `- ${l}`),
    '',
    `Reference: ${r.move}`,
  ];
  // A text is read in mail programs and terminals: what would move a cursor is left out.
  return lines.join('\n').replaceAll(/(?!\n)[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '');
}

const leftForCustomer = (r: FailoverReport): string[] => [
  ...new Set(r.steps.filter((s) => s.state !== 'done').map((s) => `Not completed: ${actsForCustomers[s.act]}`)),
  ...r.notTested,
];
