import { createServer, type IncomingMessage, type Server } from 'node:http';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { closingKinds, type ClosingKind } from '../workflows/model/closing.ts';
import type { TestStanding } from '../workflows/model/test-due.ts';
import type { Standing } from '../workflows/model/watch-news.ts';
import { Fault } from './fault.ts';

/** What a worker tells about its site. Times are Unix seconds, as Prometheus has them, so that ages never go stale. */
export class SiteMetrics {
  readonly registry = new Registry();
  readonly recoveryPoint = this.gauge(
    'tandem_recovery_point_timestamp_seconds',
    'Newest recovery point of the users served at `site`, by state: local (its own vault has it) or covered (its peer has verified it). 0 = none.',
    ['customer', 'site', 'state'],
  );
  readonly suspect = this.gauge(
    'tandem_snapshot_suspect',
    '1 while the newest snapshot of the users served at `site` shrank without a known cause and waits for an operator.',
    ['customer', 'site'],
  );
  readonly damaged = this.gauge(
    'tandem_vault_damaged',
    'Objects of the snapshots of `site` that could neither be opened nor mended in the vault of `vault`, by its newest check.',
    ['customer', 'site', 'vault'],
  );
  readonly strays = this.gauge(
    'tandem_vault_strays',
    'Versions over a key, delete markers and unknown keys beside the snapshots of `site` in the vault of `vault`, by its newest check.',
    ['customer', 'site', 'vault'],
  );
  readonly checked = this.gauge(
    'tandem_vault_checked_timestamp_seconds',
    'When the snapshots of `site` in the vault of `vault` were last checked, every byte opened within a day. 0 = never.',
    ['customer', 'site', 'vault'],
  );
  readonly quarantined = this.gauge(
    'tandem_users_quarantined',
    'Users at this site who are not let in until an operator decides, because their ACL cannot be read.',
    ['customer'],
  );
  readonly directoryAnswer = this.gauge(
    'tandem_directory_answer_timestamp_seconds',
    'When the directory gave the answer that is in force at this site. 0 = never.',
    ['customer'],
  );
  readonly directoryHeld = this.gauge(
    'tandem_directory_held',
    'Users whom an answer of the directory would disable that waits for an operator; 0 while none waits.',
    ['customer'],
  );
  readonly disabled = this.gauge('tandem_users_disabled', 'Users whom the directory disables at this site.', [
    'customer',
  ]);
  readonly filterParity = this.gauge(
    'tandem_filter_parity',
    '1 while the message filter in `where` (the database or the service of this site, or the database of its peer) is the configured one, 0 while it differs; none while that is not known.',
    ['customer', 'where'],
  );
  private readonly probes = new Counter({
    name: 'tandem_probes_total',
    help: 'Looks at a service of this site by real clients, by result: ok or failed. Availability is the share of ok.',
    labelNames: ['customer', 'service', 'result'],
    registers: [this.registry],
  });
  private readonly probeSuccess = this.gauge(
    'tandem_probe_success',
    '1 while the newest look at a service of this site found it working, 0 while it did not; none while this site serves nobody.',
    ['customer', 'service'],
  );
  private readonly probeSeconds = this.gauge(
    'tandem_probe_duration_seconds',
    'What the clients of the newest look at a service took.',
    ['customer', 'service'],
  );
  readonly ready = this.gauge(
    'tandem_failover_ready',
    '1 while a failover from `from` to this site would need signatures only, 0.5 while something would have to be accepted by name, 0 while something would stop it.',
    ['customer', 'from'],
  );
  readonly readyAt = this.gauge(
    'tandem_failover_evaluated_timestamp_seconds',
    'When the failover from `from` to this site was last evaluated. 0 = never.',
    ['customer', 'from'],
  );
  readonly unsealed = this.gauge(
    'tandem_moves_unsealed',
    'Moves that have ended at this site, whose evidence its vault does not hold yet.',
    ['customer'],
  );
  readonly beat = this.gauge(
    'tandem_witness_beat_timestamp_seconds',
    'When the witness last took a beat of this site, by this site; peers take it for lost a minute later. 0 = never.',
    ['site'],
  );
  private readonly verdict = this.gauge(
    'tandem_peer_verdict',
    '1 for what the watch has settled about the peer `site` (serving, unknown or dead), 0 for what it has not.',
    ['customer', 'site', 'verdict'],
  );
  private readonly watchedAt = this.gauge(
    'tandem_watch_timestamp_seconds',
    'When the peer `site` was last looked at. The watch looks every ten seconds.',
    ['customer', 'site'],
  );
  private readonly forked = this.gauge(
    'tandem_epoch_fork',
    '1 while another claim of the very epoch that this site holds is seen, or was noted and no line is picked yet: moves stand still.',
    ['customer'],
  );
  private readonly watchSeconds = new Histogram({
    name: 'tandem_watch_duration_seconds',
    help: 'What a round of the watch took: 2 s and more while something hangs.',
    labelNames: ['customer'],
    buckets: [0.02, 0.05, 0.1, 0.5, 1, 2.5, 5, 10],
    registers: [this.registry],
  });
  private readonly siteClosed = this.gauge(
    'tandem_site_closed',
    '1 while this site is closed to a customer, whatever its rows say: cut-off, was-down, fork or operator. It serves nobody.',
    ['customer', 'site', 'kind'],
  );
  private readonly testDue = this.gauge(
    'tandem_test_due_timestamp_seconds',
    'When the next continuity test of the kind that counts has to have passed. 0 = not known.',
    ['customer'],
  );
  private readonly testPassed = this.gauge(
    'tandem_test_passed_timestamp_seconds',
    'When the last continuity test passed that counts, at whichever site. 0 = never.',
    ['customer'],
  );
  private readonly testOverdue = this.gauge(
    'tandem_test_overdue',
    '1 while the yearly continuity test is overdue, 0.5 while a blackout holds until after it is due, else 0.',
    ['customer'],
  );
  readonly rpoSeconds = this.gauge('tandem_rpo_seconds', 'The promised RPO.', ['customer']);
  readonly build = this.gauge('tandem_worker_build', 'The build this worker runs.', ['site', 'build']);
  readonly stranded = this.gauge(
    'tandem_moves_stranded',
    'Moves of this site that stand still until they are taken over: no worker runs their build, or their task fails for ever.',
    ['site', 'reason'],
  );

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** What a look at a service has found. */
  probe(customer: string, service: string, { ok, ms }: { ok: boolean; ms: number }): void {
    this.probes.inc({ customer, service, result: ok ? 'ok' : 'failed' });
    this.probeSuccess.set({ customer, service }, ok ? 1 : 0);
    this.probeSeconds.set({ customer, service }, ms / 1000);
  }

  /** What a round of the watch has come to. */
  watched({ customer, peer: site, watch, fork }: Standing, seconds: number): void {
    for (const verdict of ['serving', 'unknown', 'dead'] as const)
      this.verdict.set({ customer, site, verdict }, watch.settled === verdict ? 1 : 0);
    this.watchedAt.set({ customer, site }, Date.now() / 1000);
    this.forked.set({ customer }, fork ? 1 : 0);
    this.watchSeconds.observe({ customer }, seconds);
  }

  /** Nobody is served: what was seen before says nothing any longer. */
  unprobed(customer: string, service: string): void {
    this.probeSuccess.remove({ customer, service });
    this.probeSeconds.remove({ customer, service });
  }

  test(customer: string, { due, passed, state }: TestStanding): void {
    const seconds = (at: string | undefined): number => (at === undefined ? 0 : Date.parse(at) / 1000);
    this.testDue.set({ customer }, seconds(due ?? undefined));
    this.testPassed.set({ customer }, seconds(passed?.endedAt));
    this.testOverdue.set({ customer }, state === 'overdue' ? 1 : state === 'late' ? 0.5 : 0);
  }

  /** `kind` null: it is open. */
  closed(customer: string, site: string, kind: ClosingKind | null): void {
    for (const one of closingKinds) this.siteClosed.set({ customer, site, kind: one }, one === kind ? 1 : 0);
  }

  private gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }
}

/**
 * Serves `/ready` (200 once the site is prepared, else 503 with the reason), `/metrics`, and below `/external-updates/` what
 * `answers` gives.
 */
export async function serveMetrics(
  listen: string,
  metrics: SiteMetrics,
  readiness: () => string | null,
  answers: (request: IncomingMessage) => Promise<[status: number, text: string]>,
): Promise<Server> {
  const at = listen.lastIndexOf(':');
  const server = createServer((request, response) => {
    const reply = async (): Promise<[number, string, string]> => {
      if (request.url === '/metrics') return [200, metrics.registry.contentType, await metrics.registry.metrics()];
      if (request.url?.startsWith('/external-updates/')) {
        const [status, text] = await answers(request);
        return [status, 'text/plain', text];
      }
      if (request.url !== '/ready') return [404, 'text/plain', 'Try /ready or /metrics\n'];
      const missing = readiness();
      return missing === null ? [200, 'text/plain', 'ready\n'] : [503, 'text/plain', `${missing}\n`];
    };
    reply().then(
      ([status, type, body]) => response.writeHead(status, { 'content-type': type }).end(body),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  // Strangers may reach it: whoever sends nothing is not waited for.
  server.headersTimeout = 10_000;
  server.requestTimeout = 15_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new Fault(
          `worker address ${listen}: ${error.message}`,
          'Another worker of this site may be running; or change `worker.listen` of this site.',
        ),
      ),
    );
    server.listen(Number(listen.slice(at + 1)), listen.slice(0, at), resolve);
  });
  return server;
}
