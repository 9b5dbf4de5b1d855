/** What every report has as one page for people who were not there. It loads nothing: whatever stands in it is shown as text. */

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** For text and for attributes in quotes; direction and control characters go, because they can make one text look like another. */
export function text(value: string | number): string {
  return String(value)
    .replaceAll(/[&<>"']/g, (c) => escapes[c] ?? '')
    .replaceAll(/(?![\n\t])[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '');
}

export const items = (all: string[], none: string): string =>
  all.length === 0 ? `<p>${text(none)}</p>` : `<ul>${all.map((i) => `<li>${text(i)}</li>`).join('')}</ul>`;

export const rows = (pairs: [string, string][]): string =>
  `<table>${pairs.map(([name, value]) => `<tr><th scope="row">${text(name)}</th><td>${text(value)}</td></tr>`).join('')}</table>`;

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ccc}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0}
th[scope]+td{overflow-wrap:anywhere}
tr+tr{border-top:1px solid #eee}th[scope]{width:14rem;font-weight:600}
.outcome{font-size:1.15rem;padding:.6rem 1rem;border-left:.4rem solid #b35900;background:#fff6ec}.closed{border-color:#1a7f37;background:#eefaf0}
code{overflow-wrap:anywhere}@media print{body{margin:0}}`;

export interface Page {
  title: string;
  endedAt: string;
  /** How it ended, in one sentence, and what goes with it in smaller print. */
  outcome: string;
  more?: string;
  /** Whether it ended as it should. */
  well: boolean;
  /** Sections, as HTML. */
  body: string;
  /** Where its evidence lies, and what names it, as HTML that goes on a sentence of a paragraph and closes that. */
  evidence: string;
}

export const page = ({ title, endedAt, outcome, more = '', well, body, evidence }: Page): string => `<!doctype html>
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
<p>${text(endedAt)}</p>
<p class="outcome${well ? ' closed' : ''}"><strong>${text(outcome)}</strong>${more === '' ? '' : ` ${text(more)}`}</p>
${body}<h2>Evidence</h2>
<p>This page is a rendering; ${evidence}
</body>
</html>`;
