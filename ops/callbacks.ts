import type { IncomingMessage } from 'node:http';
import type { Client } from '@temporalio/client';
import { Database } from '../activities/contacts/database.ts';
import { takeAnswer, type Answer } from '../activities/notify/answer.ts';
import type { SiteSettings } from '../activities/settings.ts';
import { externalUpdateId, type ExternalUpdate } from '../workflows/model/external.ts';

const LIMITS = { connections: 2, connectMs: 3000, statementMs: 10_000 };
/** `{"verb":"acknowledge"}` and room for white space. */
const LONGEST_BODY = 1024;
const BODY_MS = 5000;
/** For all parties together: they are few, answer once, and try again when they are told to. */
const MOST_A_MINUTE = 60;
const TOKEN = /^\/external-updates\/([A-Za-z0-9_-]{43})$/;
const NOTHING: Reply = [404, 'nothing here\n'];

export type Reply = [status: number, text: string];

/** Where parties outside answer: `POST /external-updates/<word>`, with the word that stands in their request. */
export class Callbacks {
  private readonly databases: { customer: string; database: Database }[];
  private readonly wake: (update: ExternalUpdate) => Promise<void>;
  private minute = 0;
  private taken = 0;

  /** `wake` tells the run of a request that its row has changed. */
  constructor(settings: SiteSettings, wake: (update: ExternalUpdate) => Promise<void>) {
    this.wake = wake;
    this.databases = [...settings.customers.values()].map(({ id, databaseUrl }) => ({
      customer: id,
      database: new Database(`database of ${id} at ${settings.site}`, databaseUrl, LIMITS),
    }));
  }

  /** Everything unknown is answered alike: whoever has no word learns nothing. */
  async answer(request: IncomingMessage): Promise<Reply> {
    const token = TOKEN.exec(request.url ?? '')?.[1];
    if (token === undefined || request.method !== 'POST') return NOTHING;
    if (this.tooMany()) return [429, 'too many answers; try again in a minute\n'];
    const answer = answerOf(await readBody(request));
    if (answer === null) return [400, '{"verb":"acknowledge"} or {"verb":"done"} is expected\n'];
    for (const { customer, database } of this.databases) {
      const update = await takeAnswer(database, customer, token, answer);
      if (!update) continue;
      await this.wake(update);
      return [200, `${update.state}: thank you\n`];
    }
    return NOTHING;
  }

  async close(): Promise<void> {
    await Promise.all(this.databases.map(({ database }) => database.close()));
  }

  private tooMany(): boolean {
    const minute = Math.floor(Date.now() / 60_000);
    if (minute !== this.minute) [this.minute, this.taken] = [minute, 0];
    this.taken += 1;
    return this.taken > MOST_A_MINUTE;
  }
}

/** Tells a request's run to look at its row; one that is away finds it when it next looks. */
export const wakeBy =
  (client: Client) =>
  async ({ customer, party, epoch }: ExternalUpdate): Promise<void> => {
    const handle = client.workflow.getHandle(externalUpdateId({ customer, party, epoch }));
    await handle.signal('look').catch(() => undefined); // The row is what counts, and it is written.
  };

/** Null when it is longer than an answer is, or takes too long. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  let text = '';
  const late = setTimeout(() => request.destroy(), BODY_MS);
  try {
    for await (const chunk of request.setEncoding('utf8')) {
      text += String(chunk);
      if (text.length > LONGEST_BODY) return null;
    }
    return text;
  } catch {
    return null; // Cut off, by them or by the clock: nobody is there to be told.
  } finally {
    clearTimeout(late);
  }
}

function answerOf(body: string | null): Answer | null {
  try {
    const given = JSON.parse(body ?? '') as { verb?: unknown } | null;
    return given?.verb === 'acknowledge' || given?.verb === 'done' ? given.verb : null;
  } catch {
    return null;
  }
}
