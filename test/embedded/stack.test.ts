import { execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { killProcess, killSite, reset, status, down, livingProcesses } from '../../ops/embedded/control.ts';
import { choosePorts, isFree, ownerOf } from '../../ops/embedded/ports.ts';
import { up, type Stack } from '../../ops/embedded/stack.ts';
import { WITNESS_BUCKET } from '../../ops/embedded/witness.ts';
import { sql } from '../rig/sql.ts';

const folders: string[] = [];

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tandem-stack-'));
  folders.push(folder);
  return folder;
}

/** One site without a worker: enough to show how a stack lives and dies. */
const start = async (folder: string): Promise<Stack> => up({ folder, sites: ['east'], workers: false, service: false });
const pids = async (folder: string): Promise<number[]> =>
  (await livingProcesses(folder)).map((p) => p.pid).toSorted((a, b) => a - b);

async function remove(folder: string): Promise<void> {
  await down(folder);
  await rm(folder, { recursive: true, force: true });
}

/** One that many tests take as the one before has left it, running or not; its processes cost seconds each time. */
let one: string;
let stack: Stack;
beforeAll(async () => {
  one = await mkdtemp(join(tmpdir(), 'tandem-stack-'));
  stack = await start(one);
});
afterAll(() => remove(one));
afterEach(async () => {
  for (const folder of folders.splice(0)) await remove(folder);
});

describe('the stack never', () => {
  it('ends a foreign process that was given the id of one of ours', async () => {
    await down(one);
    const foreign = spawn('sleep', ['60'], { stdio: 'ignore' });
    const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const forged = { site: 'east', name: 'vault', pid: foreign.pid, startTicks: '12345', bootId };
    await writeFile(join(one, 'processes', 'east-vault.json'), JSON.stringify(forged));
    expect((await status(one)).find((p) => p.name === 'vault')).toMatchObject({ state: 'dead', pid: null });
    await down(one);
    expect(foreign.exitCode).toBeNull();
    expect(() => process.kill(foreign.pid ?? 0, 0)).not.toThrow();
    foreign.kill('SIGKILL');
  });

  it('starts anything when a port is taken, and names the owner', async () => {
    await down(one);
    const port = stack.sites['east']?.ports.vault ?? 0;
    const thief = createServer().listen(port, '127.0.0.1');
    await expect(start(one)).rejects.toThrow(`port ${port} for east/vault is taken by process ${process.pid}`);
    expect(await pids(one)).toEqual([]);
    thief.close();
  });

  it('leaves anything running when a server cannot start', async () => {
    await down(one);
    const broken = join(await freshFolder(), 'broken-gateway');
    await writeFile(broken, '#!/bin/sh\necho this gateway is broken >&2\nexit 3\n', { mode: 0o755 });
    process.env['TANDEM_VERSITYGW'] = broken;
    try {
      await expect(start(one)).rejects.toThrow(/east\/vault: ended by itself[\s\S]*this gateway is broken/);
    } finally {
      delete process.env['TANDEM_VERSITYGW'];
    }
    expect(await pids(one)).toEqual([]);
  });

  it('starts without its servers, and names the one that is missing', async () => {
    const folder = await freshFolder();
    process.env['TANDEM_TEMPORAL_SERVER'] = '/nowhere/temporal';
    try {
      await expect(start(folder)).rejects.toThrow('TANDEM_TEMPORAL_SERVER=/nowhere/temporal: no executable file');
    } finally {
      delete process.env['TANDEM_TEMPORAL_SERVER'];
    }
  });

  it('deletes a folder that is not a stack’s', async () => {
    const folder = await freshFolder();
    await writeFile(join(folder, 'precious'), 'x');
    await expect(reset(folder)).rejects.toThrow(/not the folder of an embedded stack/);
    expect(await readFile(join(folder, 'precious'), 'utf8')).toBe('x');
  });
});

describe('the stack beside another one', () => {
  let two: string;
  let witness: Stack['witness'];
  const vaults = async (): Promise<string[]> =>
    (await status(two)).filter((p) => p.name === 'vault').map((p) => `${p.site} ${p.state}`);

  beforeAll(async () => {
    two = await mkdtemp(join(tmpdir(), 'tandem-stack-'));
    await choosePorts(two, ['east', 'west']);
    const second = up({ folder: two, sites: ['east'], workers: false, service: false, witness: true });
    [, { witness }] = await Promise.all([start(one), second]);
  });
  afterAll(() => remove(two));

  it('is found by a second up', async () => {
    const before = await pids(one);
    expect(before).toHaveLength(4);
    await start(one);
    expect(await pids(one)).toEqual(before);
  });

  it('has a witness that is all of its sites’, whichever is started, and outlives them', async () => {
    const { endpoint = '', users = {} } = witness ?? {};
    for (const [site, credentials] of Object.entries(users)) {
      const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
      const { $metadata } = await client.send(new ListObjectsV2Command({ Bucket: WITNESS_BUCKET }));
      expect([site, $metadata.httpStatusCode]).toEqual([site, 200]);
    }
    expect(Object.keys(users)).toEqual(['east', 'west']);
    expect(await vaults()).toEqual(['east running', 'west not started', 'witness running']);
    await killSite(two, 'east');
    expect(await vaults()).toEqual(['east not started', 'west not started', 'witness running']);
  });

  it('ends with its witness, and leaves the other one as it is', async () => {
    const before = await pids(one);
    await down(two);
    expect(await vaults()).toEqual(['east not started', 'west not started', 'witness not started']);
    expect(await pids(one)).toEqual(before);
    expect(before).toHaveLength(4);
  });
});

describe('the stack', () => {
  it('tells the truth and can be stopped after up was killed with -9 in the middle', async () => {
    const folder = await freshFolder();
    const script = `import { up } from ${JSON.stringify(fileURLToPath(new URL('../../ops/embedded/stack.ts', import.meta.url)))};
      await up({ folder: ${JSON.stringify(folder)}, sites: ['east'], workers: false, service: false });`;
    const upping = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
    for (let found = 0; found < 2; found = (await livingProcesses(folder)).length)
      await new Promise((r) => setTimeout(r, 20));
    upping.kill('SIGKILL');
    const living = await livingProcesses(folder);
    const told = (await status(folder)).filter((p) => p.pid !== null);
    expect(new Set(told.map((p) => p.pid))).toEqual(new Set(living.map((p) => p.pid)));
    expect(await down(folder)).toBeGreaterThanOrEqual(2);
    expect(await pids(folder)).toEqual([]);
    const marks = execFileSync(
      'sh',
      ['-c', 'grep -lsz "^TANDEM_STACK=$1$" /proc/[0-9]*/environ || true', 'sh', folder],
      { encoding: 'utf8' },
    );
    expect(marks.trim()).toBe('');
  });

  it('waits for a server that was never written down, and is slow to answer, as for any other', async () => {
    await start(one);
    const ui = (await livingProcesses(one)).find(({ name }) => name === 'ui');
    await rm(join(one, 'processes', 'east-ui.json'));
    process.kill(ui?.pid ?? 0, 'SIGSTOP');
    const woken = setTimeout(() => process.kill(ui?.pid ?? 0, 'SIGCONT'), 3000);
    await start(one).finally(() => clearTimeout(woken));
    expect(await pids(one)).toContain(ui?.pid);
  });

  it('loses a site whole, and comes back with what it held', async () => {
    await start(one);
    const at = stack.sites['east'];
    if (!at) throw new Error('no east');
    await sql(at.databaseUrl, 'create table kept (n int); insert into kept values (7)');
    await killSite(one, 'east');
    expect(await Promise.all(Object.values(at.ports).map((port) => isFree(port)))).not.toContain(false);
    await start(one);
    expect(await sql(at.databaseUrl, 'select n from kept')).toEqual([{ n: 7 }]);
  });

  it('prepares Temporal databases that were dropped and made anew', async () => {
    await start(one);
    await killProcess(one, 'east', 'temporal');
    const admin = stack.sites['east']?.superuserUrl ?? '';
    for (const name of ['temporal', 'temporal_visibility']) {
      await sql(admin, `drop database ${name} with (force)`);
      await sql(admin, `create database ${name} owner temporal`);
    }
    await start(one);
    expect((await status(one)).filter((p) => p.name !== 'worker').map((p) => p.state)).toEqual([
      'running',
      'running',
      'running',
      'running',
    ]);
  });

  it('names who holds a port', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const address = server.address();
    expect(await ownerOf(typeof address === 'object' && address ? address.port : 0)).toMatch(
      new RegExp(`^process ${process.pid} \\(`),
    );
    server.close();
  });
});
