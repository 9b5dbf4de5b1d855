/** Something to be told. It names a customer, sites, counts, ids and digests; never a user. */
export interface Message {
  /** What makes it one message, however often it is sent: up to 200 printable characters of ASCII, none of them a space. */
  key: string;
  /** One line. */
  subject: string;
  text: string;
  customer: string;
  /** The move it is about; null when it is about none. */
  move: string | null;
  severity: Severity;
}

/** `info`: for the record. `warning`: somebody is asked for something. `critical`: something goes wrong now. */
export type Severity = 'info' | 'warning' | 'critical';

/**
 * A way to people or machines outside. `send` resolves when the other end has accepted the message, and fails with a
 * reason otherwise: `channel-unreachable`, when trying again may help, or `channel-refused`. It ends within SEND_LIMIT_MS
 * whatever the other end does. The same key is the same message: whoever receives it twice can tell.
 */
export interface Channel {
  readonly name: string;
  send: (message: Message, signal?: AbortSignal) => Promise<void>;
}

/** The other end accepts within this time, or is away: pages are sent at once to all, and nobody waits for one that hangs. */
export const SEND_LIMIT_MS = 10_000;

/** How a channel is reached, secrets included. `ca`: certificates in PEM that are trusted instead of the machine's own. */
export type ChannelSettings = WebhookSettings | SmtpSettings | OutboxSettings;

export interface WebhookSettings {
  kind: 'webhook';
  url: string;
  /** Signs each request; null: it is not signed. `whsec_` and base64, or any text. */
  secret: string | null;
  ca: string | null;
}

export interface SmtpSettings {
  kind: 'smtp';
  host: string;
  port: number;
  /** `required`: STARTTLS, or nothing is sent. `implicit`: from the first byte. `none`: on loopback only. */
  tls: 'required' | 'implicit' | 'none';
  user: string | null;
  password: string | null;
  from: string;
  to: readonly string[];
  ca: string | null;
}

export interface OutboxSettings {
  kind: 'outbox';
  /** A local agent takes files from `new` in it. */
  folder: string;
}
