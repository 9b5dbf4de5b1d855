import { appliedSnapshot } from '../../../activities/contacts/applied.ts';
import { Database } from '../../../activities/contacts/database.ts';
import { readSalvages, readUnsalvaged } from '../../../activities/contacts/salvaged.ts';
import type { CustomerSettings } from '../../../activities/settings.ts';
import { openSnapshot } from '../../../activities/vault/open.ts';
import { S3Vault } from '../../../activities/vault/s3.ts';
import { openSalvage } from '../../../activities/vault/open-salvage.ts';
import type { SnapshotSummary } from '../../../workflows/model/snapshots.ts';
import { Fault } from '../../fault.ts';
import { snapshotNow, standbyNow } from '../../snapshots.ts';
import { pause } from '../../temporal.ts';
import { editPeople } from '../people/edit.ts';
import { up } from '../stack.ts';
import { LOST, SURVIVOR, urlOf, type Scene } from './scene.ts';
import { compareWitness, makeWitness } from './witness.ts';

/** The lost site comes back: it serves nobody, keeps what it alone has, and becomes the copy of everybody. */

const LIMIT_MS = 180_000;
const POLL_MS = 200;
const DATABASE = { connections: 1, connectMs: 5000, statementMs: 10_000 };

/** `before`: the snapshot of its users that was restored. Answers how many rows differ between the sites in the end. */
export async function comeBack(scene: Scene, of: CustomerSettings, before: SnapshotSummary): Promise<number> {
  const { options } = scene;
  const { tell, folder, seed, users } = options;
  const edit = (site: string): Promise<number> =>
    editPeople({
      seed: `${seed}, later`,
      url: urlOf(scene, SURVIVOR),
      site,
      users: Math.max(1, Math.ceil(users / 100)),
    });
  tell('changed-since', { [`usersOf${LOST}`]: await edit(LOST), [`usersOf${SURVIVOR}`]: await edit(SURVIVOR) });
  await up({ folder, workers: true, say: options.say });
  const lost = new Database(`database of ${of.id} at ${LOST}`, urlOf(scene, LOST), DATABASE);
  const survivor = new Database(`database of ${of.id} at ${SURVIVOR}`, urlOf(scene, SURVIVOR), DATABASE);
  try {
    const epoch = await epochOf(survivor);
    await become(scene, `${LOST} obeys epoch ${epoch}`, async () => (await epochOf(lost)) === epoch);
    const [there, here] = [await serves(lost), await serves(survivor)];
    tell('returned', { epoch, [`${LOST}Serves`]: there, [`${SURVIVOR}Serves`]: here });
    if (there > 0) throw new Fault(`demo: ${LOST} serves ${there} users beside ${SURVIVOR}`, 'This must never be.');
    await salvage(scene, of, lost, before);
    return await followed(scene, of, lost);
  } finally {
    await Promise.all([lost.close(), survivor.close()]);
  }
}

async function epochOf(database: Database): Promise<number> {
  const [row] = await database.query<{ number: number }>('select number::int from tandem.epoch');
  return row?.number ?? 0;
}

/** Users whom a site may serve by its own database. */
export async function serves(database: Database): Promise<number> {
  const [row] = await database.query<{ n: number }>(
    'select count(*)::int as n from tandem.home where tandem.may_serve(username)',
  );
  return row?.n ?? 0;
}

async function become({ options }: Scene, what: string, is: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + LIMIT_MS; !(await is()); await pause(POLL_MS, options.signal)) {
    options.signal.throwIfAborted();
    if (Date.now() > deadline)
      throw new Fault(`demo: not seen within ${LIMIT_MS / 1000} s: ${what}`, 'Look at the log of the worker there.');
  }
}

/** What is salvaged is told by the vault, as the peer reads it: a run of the schedule may have been first. */
async function salvage(scene: Scene, of: CustomerSettings, lost: Database, before: SnapshotSummary): Promise<void> {
  const { settings, customer, client, options } = scene;
  await standbyNow(await client(LOST), LOST, of);
  await become(scene, `${LOST} has salvaged`, async () => (await readUnsalvaged(lost, customer, LOST)).length === 0);
  const [salvaged] = await readSalvages(lost, customer);
  const access = settings.peerVaults.get(LOST);
  if (!salvaged || !access) throw new Fault('demo: nothing was salvaged', 'Look at the log of the worker there.');
  const vault = new S3Vault(access);
  try {
    const { publicKeys } = settings;
    const shelf = { vault, customer, site: LOST, publicKeys, keys: of.keys, signal: options.signal };
    const opened = await openSalvage(shelf, salvaged.epoch);
    const [there, base] = await Promise.all([
      opened.index(),
      openSnapshot({ ...shelf, id: before }).then((snapshot) => snapshot.index()),
    ]);
    let unsent = 0;
    for (const user of there.numbers()) {
      const known = base.find(there.userKey(user));
      if (known < 0 || !base.recordId(known).equals(there.recordId(user))) unsent += 1;
    }
    const { users, contacts, aclItems } = opened.salvage.counts;
    options.tell('salvaged', { users, contacts, aclItems, withUnsentChanges: unsent });
  } finally {
    vault.close();
  }
}

/** Compared by plain SQL, user by user of both halves: rows as they stood at the survivor when its snapshot was taken. */
async function followed(scene: Scene, of: CustomerSettings, lost: Database): Promise<number> {
  const { client, options } = scene;
  await become(scene, `${LOST} follows ${SURVIVOR}`, async () => {
    const rows = await lost.query('select from tandem.serving where half = $1 and site = $2', [LOST, SURVIVOR]);
    return rows.length === 1;
  });
  const halves = [LOST, SURVIVOR];
  await makeWitness(urlOf(scene, SURVIVOR), urlOf(scene, LOST), ...halves);
  const { point, seq, counts } = await snapshotNow(await client(SURVIVOR), SURVIVOR, of);
  // The site was told of it, and may be at it already.
  await standbyNow(await client(LOST), LOST, of);
  await become(scene, `${LOST} holds snapshot ${seq} of ${SURVIVOR}`, async () => {
    const applied = await appliedSnapshot(lost, of.id, SURVIVOR);
    return applied !== null && applied.seq >= seq;
  });
  const differences = await compareWitness(urlOf(scene, LOST), ...halves);
  const [kept] = await lost.query<{ n: number }>('select count(*)::int as n from tandem.conflict');
  options.tell('peer-again', { point, users: counts.users, keptAside: kept?.n ?? 0, differences });
  return differences;
}
