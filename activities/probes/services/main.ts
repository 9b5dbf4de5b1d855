import dns from 'node:dns';
import tls from 'node:tls';
import { probes } from './probes.ts';
import { seenOf, ProbeRun, Unmet } from './run.ts';
import type { Facts, FromProbe, ProbeOrder, ToProbe } from './port.ts';

/**
 * The clients of one probe: a process of its own, because the library throws late from sockets that are gone, and because
 * what it trusts and how it finds its site hold for all that is in it. It ends with the worker, whatever becomes of that.
 */

/** For the streams to be closed, when there was no time left for anything else. */
const CLOSE_MS = 300;

let run: ProbeRun | null = null;
let ending = false;

function tell(message: FromProbe, told: () => void = () => undefined): void {
  if (process.connected) process.send?.(message, told);
  else told();
}

async function look(order: ProbeOrder): Promise<void> {
  if (order.target.ca !== null) tls.setDefaultCACertificates([order.target.ca]);
  leadTo(order.target);
  run = new ProbeRun(order, (expects) => tell({ expects }));
  const began = performance.now();
  let because = '';
  let facts: Facts = {};
  try {
    facts = await probes[order.what](run);
  } catch (error) {
    because = error instanceof Unmet ? error.message : `expected no fault of the client; saw ${seenOf(error)}`;
  }
  const ms = Math.round(performance.now() - began);
  tell({ result: { ok: because === '', ms, because, facts } });
  await end();
}

/** All streams are closed; then nothing holds the process. */
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  await run?.close(CLOSE_MS);
  tell({ expects: 'its clients to end' }, () => process.exit(0));
}

/** The site's own address stands for the host that users know: the DNS may lead them to the other site at this moment. */
function leadTo({ web, address }: ProbeOrder['target']): void {
  if (web === null || address === null) return;
  const { hostname } = new URL(web);
  const { lookup } = dns;
  const led = (name: string, ...rest: unknown[]): void => {
    Reflect.apply(lookup, dns, [name === hostname ? address : name, ...rest]);
  };
  dns.lookup = led as typeof lookup;
}

process.on('uncaughtException', (error) => run?.note(error));
process.on('unhandledRejection', (error) => run?.note(error));
process.on('disconnect', () => void end());
process.on('message', (message: ToProbe) => {
  if ('stop' in message) void end();
  else void look(message.order);
});
