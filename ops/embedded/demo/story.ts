import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import type { CustomerSettings } from '../../../activities/settings.ts';
import type { SnapshotSummary } from '../../../workflows/model/snapshots.ts';
import type { ClosedMove, FailoverStatus } from '../../../workflows/model/moves.ts';
import { readConfiguration } from '../../config/configuration.ts';
import { settingsFor } from '../../config/settings.ts';
import { Fault } from '../../fault.ts';
import { startFailover } from '../../moves.ts';
import { snapshotNow, standbyNow } from '../../snapshots.ts';
import { connectClient } from '../../temporal.ts';
import { startTest } from '../../tests.ts';
import { editPeople } from '../people/edit.ts';
import { requireEnough } from '../people/people.ts';
import { dismissOne, populate } from '../people/populate.ts';
import { killSite, status } from '../control.ts';
import { up } from '../stack.ts';
import { comeBack } from './back.ts';
import { comeHome } from './home.ts';
import { signTwice, until } from './moves.ts';
import { LOST, SURVIVOR, urlOf, type DemoOptions, type Scene } from './scene.ts';
import { seenServices, signInAgain } from './users.ts';
import { compareWitness, makeWitness } from './witness.ts';

/** The product's story on real servers: protect, lose a site, fail over, verify, evidence, and the site that comes back. */

export interface DemoReport {
  stage: 'report';
  users: number;
  usersRestored: number;
  contactsRestored: number;
  aclItemsRestored: number;
  recoveryPointAgeMs: number;
  rtoMs: number;
  mismatches: number;
  reportPath: string;
  temporalUi: string;
}

/** Tells the whole story; leaves the stack running for the caller to stop. */
export async function tellStory(options: DemoOptions): Promise<DemoReport> {
  const { tell, folder } = options;
  requireEnough(options.users);
  tell('setup', { folder });
  const stack = await up({ folder, workers: true, say: options.say });
  tell('sites-up', { processes: (await status(folder)).length, ui: stack.sites[SURVIVOR]?.uiUrl ?? '' });
  const configuration = await readConfiguration(stack.configuration);
  const settings = await settingsFor(configuration, SURVIVOR, { reportsFolder: join(folder, 'reports') });
  const clients = new Map<string, Client>();
  const client = async (site: string): Promise<Client> => {
    const temporal = configuration.sites.get(site)?.temporal;
    const found = clients.get(site) ?? (temporal && (await connectClient(temporal)));
    if (!found)
      throw new Fault(
        `site ${site}: not in ${stack.configuration}`,
        'Run the demo again: it makes its own configuration.',
      );
    clients.set(site, found);
    return found;
  };
  const hangUp = async (site: string): Promise<void> => {
    await clients.get(site)?.connection.close();
    clients.delete(site);
  };
  const scene: Scene = { options, stack, customer: stack.customer, settings, client, hangUp };
  try {
    const { of, snapshot } = await protect(scene);
    const lostAt = await loseSite(scene);
    const { closed, mismatches } = await failOver(scene, lostAt);
    await proveOnceMore(scene);
    const differences = (await comeBack(scene, of, snapshot)) + (await comeHome(scene));
    return reportOf(scene, closed, mismatches + differences);
  } finally {
    await Promise.all([...clients.values()].map((c) => c.connection.close()));
  }
}

/** Whether there is an ejabberd at each site, whose users sign in. */
const hasService = ({ stack }: Scene): boolean => stack.sites[SURVIVOR]?.clients != null;

/** Users at both sites, their data covered in both directions, then changes that no snapshot has. Answers the lost site's. */
async function protect(scene: Scene): Promise<{ of: CustomerSettings; snapshot: SnapshotSummary }> {
  const { options, stack, customer, settings, client } = scene;
  const { tell, users, seed } = options;
  const created = await populate(stack, { seed, users }, client);
  tell('users-created', { users, contacts: sum(created, 'contacts'), aclItems: sum(created, 'aclItems') });
  const of = settings.customers.get(customer);
  if (!of)
    throw new Fault(`customer ${customer}: not at ${SURVIVOR}`, 'Run the demo again: it makes its own configuration.');
  await makeWitness(urlOf(scene, LOST), urlOf(scene, SURVIVOR), LOST);
  const [lost, survivor] = await Promise.all([
    snapshotNow(await client(LOST), LOST, of),
    snapshotNow(await client(SURVIVOR), SURVIVOR, of),
  ]);
  await Promise.all([standbyNow(await client(SURVIVOR), SURVIVOR, of), standbyNow(await client(LOST), LOST, of)]);
  tell('covered', {
    [`${LOST}Point`]: lost.point,
    [`${SURVIVOR}Point`]: survivor.point,
    bytes: lost.bytes + survivor.bytes,
  });
  const edited = Math.max(1, Math.ceil(users / 100));
  tell('changed', {
    users: await editPeople({ seed, url: urlOf(scene, LOST), site: LOST, users: edited }),
    ...(stack.directory && { disabledInDirectory: await dismissOne(stack) }),
  });
  return { of, snapshot: lost };
}

function sum(counts: Record<string, { contacts: number; aclItems: number }>, what: 'contacts' | 'aclItems'): number {
  return Object.values(counts).reduce((total, c) => total + c[what], 0);
}

/** Kills the site as a lost data center ends, and makes sure that nothing of it is left. */
async function loseSite({ options, stack, hangUp }: Scene): Promise<string> {
  const lostAt = new Date().toISOString();
  await killSite(stack.folder, LOST);
  await hangUp(LOST);
  const left = (await status(stack.folder)).filter((p) => p.site === LOST && p.pid !== null);
  if (left.length > 0)
    throw new Fault(`site ${LOST}: ${left.map((p) => p.name).join(', ')} still run`, '`tandem dev down` ends them.');
  options.tell('site-lost', { site: LOST, processesLeft: left.length });
  return lostAt;
}

async function failOver(scene: Scene, disruptedAt: string): Promise<{ closed: ClosedMove; mismatches: number }> {
  const { options, customer, client } = scene;
  const { tell } = options;
  const handle = await startFailover(await client(SURVIVOR), SURVIVOR, {
    customer,
    from: LOST,
    disruptedAt,
    reason: 'demo: every process of the site was killed',
    requestedBy: 'operator-1',
    isolation: 'its processes were killed and its ports are closed; checked by the demo',
  });
  tell('declared', { workflow: handle.workflowId });
  await until(handle, options, (s) => s.phase === 'approving');
  await signTwice(scene, handle);
  tell('approved', { by: 'operator-1, operator-2' });
  const again = hasService(scene) ? signInAgain(scene.settings, customer, SURVIVOR, options.signal) : null;
  // Told where the story has come to; until then nobody hears it.
  again?.catch(() => undefined);
  const done = (id: string) => (s: FailoverStatus) => s.steps.some((step) => step.id === id && step.state === 'done');
  const told = [
    ['fence', 'fenced'],
    ['contacts', 'restored'],
    ['serve', 'serving'],
    ['verify', 'verified'],
  ] as const;
  for (const [id, stage] of told) {
    const { steps } = await until(handle, options, done(id));
    tell(stage, { summary: steps.find((step) => step.id === id)?.summary ?? '' });
    if (stage === 'serving' && again) tell('signed-in-again', await again);
  }
  const closed = await handle.result();
  const mismatches = await compareWitness(urlOf(scene, SURVIVOR), LOST);
  tell('closed', { outcome: closed.report.outcome, mismatches });
  const services = seenServices(closed.report);
  if (services.length > 0) tell('services', { services });
  return { closed, mismatches };
}

/** A continuity test at the survivor: what it holds of the lost site can be restored once more, from nothing. */
async function proveOnceMore({ options, customer, client }: Scene): Promise<void> {
  const test = await startTest(await client(SURVIVOR), SURVIVOR, customer);
  if (!test.held) throw new Fault(`continuity test: not held, ${test.because}`, 'Run the demo again.');
  options.tell('test-passed', {
    outcome: test.receipt.outcome,
    users: test.receipt.counts.users,
    contacts: test.receipt.counts.contacts,
  });
}

function reportOf({ options, stack }: Scene, { report, path }: ClosedMove, mismatches: number): DemoReport {
  return {
    stage: 'report',
    users: options.users,
    usersRestored: report.restored?.users ?? 0,
    contactsRestored: report.restored?.contacts ?? 0,
    aclItemsRestored: report.restored?.aclItems ?? 0,
    recoveryPointAgeMs: report.recoveryPointAgeMs ?? -1,
    rtoMs: report.rtoMs ?? -1,
    mismatches: mismatches + (report.mismatches ?? 1),
    reportPath: path,
    temporalUi: `${stack.sites[SURVIVOR]?.uiUrl ?? ''}/namespaces/tandem/workflows`,
  };
}
