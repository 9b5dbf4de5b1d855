import { CancellationScope, condition } from '@temporalio/workflow';
import type { Severity } from '../../activities/notify/port.ts';
import type { PageInput, PageResult } from '../../activities/types.ts';
import { failureText } from '../model/failures.ts';
import type { FailoverStatus } from '../model/moves.ts';
import type { Plan } from '../model/plan.ts';
import { pager } from './activities.ts';
import { glassText, pageText } from './page-text.ts';
import type { Run } from './run.ts';

/** A move that closes waits no longer for channels that hang: what it moved is served, and its slot is wanted. */
const CLOSE_PATIENCE = '5s';
/** A line that a telephone shows. */
const LONGEST_SUBJECT = 120;

const now = (): string => new Date(Date.now()).toISOString();

/** Tells whoever is on duty. Nothing in the move waits for a page but the end of the run, which would take it along. */
export class Pages {
  /** Whether anybody is paged at this site: else none is scheduled. */
  wanted = false;
  readonly unsent: FailoverStatus['unsent'] = [];
  private readonly run: Run;
  private readonly going = new Set<PageInput>();
  /** Closed, the journal takes no more. */
  private closed = false;
  /** The newest plan that signatures were asked for. */
  private asked = '';

  constructor(run: Run) {
    this.run = run;
  }

  alarm(text: string): void {
    this.send(`alarm/${now()}/${this.run.alarms.length}`, text, 'critical');
  }

  declared(): void {
    const { input, name } = this.run;
    if (name === 'failover') this.send('declared', `site ${input.from} is declared lost`, 'warning');
    else this.send('declared', `a ${name} of users of ${input.half} to ${input.to} is asked for`, 'info');
  }

  /** Once for each plan, however often it is made anew. */
  planned({ digest, blockers }: Plan): void {
    const blocked = blockers.length > 0;
    const key = `plan/${digest}/${blocked ? 'blocked' : 'to-sign'}`;
    if (this.asked === key) return;
    this.asked = key;
    this.send(key, blocked ? 'the plan cannot be approved as it is' : 'the plan waits for signatures', 'warning');
  }

  /** That one commander goes on alone, told to all who could stop him. Waited for: without it his word does not count. */
  async brokenGlass(operator: string, because: string, nonce: string): Promise<PageResult> {
    const page = this.pageOf(`break-glass/${nonce}`, `BREAK-GLASS: ${operator} alone approves`, 'critical');
    try {
      return await pager['page-operators']({
        ...page,
        text: `${glassText(this.run.status(), operator, because)}\n${page.text}`,
      });
    } catch (error) {
      return { sent: [], failed: [{ channel: 'all', because: failureText(error) }] };
    }
  }

  ended(outcome: string): void {
    this.closed = true;
    this.send('ended', `the ${this.run.name} has ended: ${outcome}`, outcome === 'closed' ? 'info' : 'warning');
  }

  /** Waits until every page is taken or given up; those that hang still are noted, and left. */
  async settle(): Promise<void> {
    if (this.going.size === 0) return;
    if (await condition(() => this.going.size === 0, CLOSE_PATIENCE, { summary: 'until pages are sent' })) return;
    for (const page of this.going) this.note(page, 'all', 'it was still on its way');
  }

  private send(key: string, text: string, severity: Severity): void {
    if (!this.wanted) return;
    const page = this.pageOf(key, text, severity);
    this.going.add(page);
    void this.deliver(page);
  }

  private pageOf(key: string, text: string, severity: Severity): PageInput {
    const { move, input } = this.run;
    const { customer } = input;
    return {
      customer,
      move,
      key: `${customer}/${move}/${key}`,
      subject: `${customer}: ${text.slice(0, LONGEST_SUBJECT)}`,
      text: pageText(this.run.status(), text),
      severity,
    };
  }

  private async deliver(page: PageInput): Promise<void> {
    try {
      // Whoever rings may be cancelled; the page may not.
      const { failed } = await CancellationScope.nonCancellable(() => pager['page-operators'](page));
      for (const { channel, because } of failed) this.note(page, channel, because);
    } catch (error) {
      this.note(page, 'all', failureText(error));
    } finally {
      this.going.delete(page);
    }
  }

  private note({ subject }: PageInput, channel: string, because: string): void {
    const unsent = { at: now(), subject, channel, because };
    this.unsent.push(unsent);
    if (!this.closed) this.run.write('note', { text: `page not sent by ${channel}: ${because}`, ...unsent });
    this.run.show();
  }
}
