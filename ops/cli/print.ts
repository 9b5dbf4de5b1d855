import { InvalidArgumentError } from 'commander';
import { failureText } from '../../workflows/model/failures.ts';

/** How a command ends (DESIGN 7). */
export const exits = { done: 0, failed: 1, usage: 2, held: 3 } as const;

/** What a verb is given: where to read the configuration, and how to speak. */
export interface Context {
  /** The configuration's path, by `--config`, TANDEM_CONFIG, or where the embedded stack keeps it. */
  config: () => string;
  /** The folder of the embedded stack. */
  state: () => string;
  json: () => boolean;
  /** Ends when the operator asks, by Ctrl-C or SIGTERM. */
  signal: AbortSignal;
  out: Printer;
}

export class Printer {
  readonly json: () => boolean;

  constructor(json: () => boolean) {
    this.json = json;
  }

  /** One answer: an object for programs, lines for people. */
  answer(object: unknown, lines: string | string[]): void {
    const text = this.json() ? JSON.stringify(object) : [lines].flat().join('\n');
    if (text !== '') process.stdout.write(`${text}\n`);
  }

  /** Progress for people; programs have no use for it. */
  say(line: string): void {
    if (!this.json()) process.stderr.write(`${line}\n`);
  }

  /** What a program has in the answer already. */
  remark(line: string): void {
    if (!this.json()) process.stdout.write(`${line}\n`);
  }

  /** The command that comes next, and the one after it. */
  next(command: string | null, then?: string): void {
    if (command !== null) this.remark(`Next: ${command}`);
    if (then !== undefined) this.remark(`Then: ${then}`);
  }

  /** `Error:` then `Try:`. No stack traces for people at work; TANDEM_DEBUG=1 brings them. */
  fault(error: unknown): void {
    const message = error instanceof Error ? failureText(error) : String(error);
    const advice = adviceOf(error);
    if (this.json()) process.stderr.write(`${JSON.stringify({ error: message, try: advice })}\n`);
    else process.stderr.write(`Error: ${message}\nTry: ${advice}\n`);
    if (process.env['TANDEM_DEBUG'] === '1' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  }
}

/** What to do: a fault says it itself, a failure carries it in its details. */
function adviceOf(error: unknown): string {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ('try' in e && typeof e.try === 'string') return e.try;
    const details = 'details' in e && Array.isArray(e.details) ? (e.details as unknown[]) : [];
    const first = details[0];
    if (typeof first === 'object' && first !== null && 'try' in first && typeof first.try === 'string')
      return first.try;
  }
  return 'TANDEM_DEBUG=1 shows where it comes from.';
}

/** A table with columns as wide as their widest cell. */
export function table(rows: string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** `1 pack`, `2 packs`. */
export const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** A text of somebody else's for a terminal: what would move its cursor or turn its lines around is written out. */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (c) =>
    c === ZERO_WIDTH_JOINER ? c : `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** Holds emoji together, and does no harm. */
const ZERO_WIDTH_JOINER = '\u200d';

/** A number of users, as an option's value. */
export function wholeNumber(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 2 || n > 1_000_000)
    throw new InvalidArgumentError('a whole number from 2 to 1,000,000 is allowed.');
  return n;
}
