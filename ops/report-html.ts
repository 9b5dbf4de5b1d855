import { actsForCustomers } from '../workflows/model/acts.ts';
import type { FailoverReport } from '../workflows/model/moves.ts';
import { claimed, costs, moment, outcomes } from './report-words.ts';

/** A report for people who were not there: as one page, and as a notice to the customer. */

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** For text and for attributes in quotes; direction and control characters go, because they can make one text look like another. */
export function text(value: string | number): string {
  return String(value)
    .replaceAll(/[&<>"']/g, (c) => escapes[c] ?? '')
    .replaceAll(/(?![\n\t])[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '');
}

/** What was left undone, and what is never done: nobody should take silence for success. */
const leftOpen = (r: FailoverReport): string[] => [
  ...r.steps
    .filter((s) => s.state !== 'done')
    .map((s) => `step ${s.id} (${s.act}) is ${s.state}: ${s.summary || 'it did not begin'}`),
  ...r.notTested,
];

export const items = (all: string[], none: string): string =>
  all.length === 0 ? `<p>${text(none)}</p>` : `<ul>${all.map((i) => `<li>${text(i)}</li>`).join('')}</ul>`;

export const rows = (pairs: [string, string][]): string =>
  `<table>${pairs.map(([name, value]) => `<tr><th scope="row">${text(name)}</th><td>${text(value)}</td></tr>`).join('')}</table>`;

const steps = (r: FailoverReport): string =>
  `<table><tr><th>Step</th><th>What</th><th>How it ended</th><th>When</th><th></th></tr>${r.steps
    .map((s) => {
      const cells = [s.id, s.act, s.state, s.endedAt === null ? '-' : moment(s.endedAt), s.summary].map(
        (c) => `<td>${text(c)}</td>`,
      );
      return `<tr>${cells.join('')}</tr>`;
    })
    .join('')}</table>`;

export const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ccc}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0}
th[scope]+td{overflow-wrap:anywhere}
tr+tr{border-top:1px solid #eee}th[scope]{width:14rem;font-weight:600}
.outcome{font-size:1.15rem;padding:.6rem 1rem;border-left:.4rem solid #b35900;background:#fff6ec}.closed{border-color:#1a7f37;background:#eefaf0}
code{overflow-wrap:anywhere}@media print{body{margin:0}}`;

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
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>${text(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${text(title)}</h1>
<p>${text(moment(r.endedAt))}</p>
<p class="outcome${r.outcome === 'closed' ? ' closed' : ''}"><strong>${text(outcomes[r.outcome])}</strong></p>
${alone(r)}<h2>What happened, and when</h2>
${rows([
  ['Reason', r.reason],
  ...(r.kind ? [] : [lostRow(r)]),
  [r.kind ? 'Asked for' : 'Declared', `${moment(r.declaredAt)}, by ${r.requestedBy}`],
  ['Approved', moment(r.approvedAt)],
  ['Users served again', r.servedAt === null ? 'not by this move' : `${moment(r.servedAt)}, at ${r.to}`],
  ['Ended', moment(r.endedAt)],
])}
<h2>What it cost</h2>
${rows(costs(r))}
<h2>Who approved</h2>
${items(approvals, 'Nobody: nothing was changed, or the approvals were void when it ended.')}
<h2>What was not tested or restored</h2>
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
<h2>Evidence</h2>
<p>This page is a rendering; the signed evidence lies in the vaults of both sites. <code>tandem evidence export --customer ${text(r.customer)} --move ${text(r.move)} --out FILE</code></p>
${rows([
  ['Move', r.move],
  ['Epoch', r.epoch === null ? 'none was claimed' : `${r.epoch}${claimed(r)}`],
  ['Plan', r.planDigest ?? 'none'],
  ['Journal', r.journalHead],
])}
</body>
</html>`;
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
      : `${r.kind ? 'They' : 'Its users'} were not moved: ${outcomes[r.outcome]}`,
    '',
    // What came back is of interest where somebody was moved.
    ...(moved ? costs(r) : costs(r).slice(0, 1)).map((row) => row.join(': ')),
    '',
    'Not tested or not restored:',
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
