import { createHash } from 'node:crypto';
import { createTransport, type SMTPTransportOptions } from 'nodemailer';
import { failure } from '../../workflows/model/failures.ts';
import { oneLine, sending } from './limit.ts';
import { SEND_LIMIT_MS, type Channel, type Message, type SmtpSettings } from './port.ts';

/**
 * Hands a mail to one server, encrypted unless that is on loopback. Its Message-ID comes from the key, so that a repeat is
 * the same mail to whoever reads it. Accepted is what the server took for all recipients.
 */
export function smtp(name: string, settings: SmtpSettings): Channel {
  return {
    name,
    send: (message, signal) => sending(name, message, signal, (limit) => deliver(name, settings, message, limit)),
  };
}

/** The same for the same key, and nothing of the key can be read from it. */
export function messageIdOf(key: string, from: string): string {
  const domain = /@([A-Za-z0-9.-]+)>?\s*$/.exec(from)?.[1] ?? 'localhost';
  return `<${createHash('sha256').update(key).digest('hex').slice(0, 32)}@${domain}>`;
}

async function deliver(name: string, settings: SmtpSettings, message: Message, signal: AbortSignal): Promise<void> {
  const { from, to } = settings;
  const transport = createTransport(optionsOf(settings));
  try {
    const { rejected } = await transport.sendMail({
      from,
      to: [...to],
      subject: message.subject,
      text: message.text,
      messageId: messageIdOf(message.key, from),
      headers: {
        'Auto-Submitted': 'auto-generated',
        'X-Tandem-Key': message.key,
        'X-Tandem-Customer': message.customer,
        'X-Tandem-Severity': message.severity,
      },
      priority: message.severity === 'critical' ? 'high' : 'normal',
      signal,
    });
    if (rejected.length > 0)
      throw failure('channel-refused', `channel ${name}: ${rejected.length} of ${to.length} recipients were refused`);
  } catch (error) {
    const refused = refusal(error);
    if (refused === null) throw error;
    throw failure('channel-refused', `channel ${name}: ${settings.host} answered ${refused}`);
  } finally {
    transport.close();
  }
}

function optionsOf({ host, port, tls, user, password, ca }: SmtpSettings): SMTPTransportOptions {
  return {
    host,
    port,
    secure: tls === 'implicit',
    requireTLS: tls === 'required',
    ignoreTLS: tls === 'none',
    ...(user !== null && { auth: { user, pass: password ?? '' } }),
    tls: { minVersion: 'TLSv1.2', ...(ca !== null && { ca }) },
    connectionTimeout: SEND_LIMIT_MS,
    greetingTimeout: SEND_LIMIT_MS,
    socketTimeout: SEND_LIMIT_MS,
    // A text that names a file or an address stays a text.
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

/** What the server said when its no is for good (5yz, RFC 5321); null for all else. */
function refusal(error: unknown): string | null {
  if (!(error instanceof Error) || !('responseCode' in error) || typeof error.responseCode !== 'number') return null;
  return error.responseCode >= 500 ? oneLine(error.message) : null;
}
