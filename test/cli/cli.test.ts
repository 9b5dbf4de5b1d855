import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { typed, type Said } from '../rig/cli.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tandem-cli-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const tandem = (args: string[], env?: Record<string, string>): Promise<Said> => typed(folder, args, env);

describe('wrong words', () => {
  const cases: [string, string[], number, RegExp][] = [
    ['an unknown verb, with the near one', ['faylover'], 2, /unknown command 'faylover'\nTry: .*failover/],
    ['an unknown verb of a group', ['failover', 'aprove'], 2, /unknown command 'aprove'/],
    ['a missing option', ['failover', 'start'], 2, /required option '--from <site>'/],
    ['a number that is none', ['demo', '--users', 'many'], 2, /a whole number from 2 to 1,000,000/],
    [
      'an unknown customer',
      ['snapshot', 'now', '--site', 'east', '--customer', 'nobody'],
      1,
      /customer "nobody": not in .*\nTry: Known customers: contoso/,
    ],
    [
      'an unknown site',
      ['snapshot', 'list', '--site', 'north'],
      1,
      /site "north": not in .*\nTry: Known sites: east, west/,
    ],
    [
      'a site that is not the customer’s',
      ['failover', 'start', '--from', 'north', '--reason', 'x', '--requested-by', 'y'],
      1,
      /contoso is at east and west/,
    ],
    [
      'a time that is none',
      ['failover', 'start', '--from', 'east', '--reason', 'x', '--requested-by', 'y', '--disrupted-at', 'night'],
      1,
      /"night": is no time/,
    ],
    [
      'somebody who may not declare',
      ['failover', 'start', '--from', 'east', '--reason', 'x', '--requested-by', 'y'],
      1,
      /"y": is not an operator of .* who may declare a move/,
    ],
    ['a configuration that is not there', ['--config', 'nowhere.yaml', 'status'], 1, /nowhere\.yaml: does not exist/],
    [
      'a test of a kind nobody knows',
      ['test', 'start', '--site', 'west', '--kind', 'nightly'],
      1,
      /--kind nightly: isolated, tabletop and live are known/,
    ],
    [
      'a live test without a cohort',
      ['test', 'start', '--site', 'west', '--kind', 'live'],
      1,
      /--kind live: needs --cohort/,
    ],
    [
      'a loss of a site that does not run',
      ['dev', 'lose', '--site', 'north'],
      1,
      /site "north": nothing of it runs in .*\nTry: `tandem dev up`/,
    ],
    [
      'the end of a pause that nobody signs',
      ['failover', 'resume', '--operator', 'operator-1'],
      2,
      /failover resume: lacks --key FILE/,
    ],
    ['a worker of an unknown site', ['worker', '--site', 'north'], 1, /site "north"/],
  ];
  it.each(cases)('%s: one error and what to try', async (_, args, code, text) => {
    const said = await tandem(args);
    expect(said.err).toMatch(text);
    expect(said.err).toMatch(/^Error: .+\nTry: .+\n$/);
    expect(said.code).toBe(code);
  });

  it('are one JSON line for programs', async () => {
    const { err } = await tandem(['--json', 'snapshot', 'list', '--site', 'north']);
    expect(JSON.parse(err)).toMatchObject({
      error: expect.stringContaining('north') as string,
      try: expect.any(String) as string,
    });
  });
});

describe('what was signed elsewhere', () => {
  const send = async (request: string, ...more: string[]): Promise<Said> => {
    const file = join(folder, 'word');
    await writeFile(`${file}.json`, request);
    await writeFile(`${file}.sig`, 'a signature');
    return tandem(['failover', 'approve', '--site', 'west', '--signed', file, ...more]);
  };

  it('is printed for Temporal UI as it would be sent, laid out as the page does, to a run that need not answer', async () => {
    const signed = { verb: 'approve', operator: 'operator-1', expires: '2999-01-01T00:00:00.000Z' };
    const { code, out } = await send(JSON.stringify(signed), '--for-ui');
    const pasted = { ...signed, signature: 'a signature' };
    expect([code, out]).toEqual([0, expect.stringContaining(`\n${JSON.stringify(pasted, null, 2)}\n`)]);
  });

  it('is not sent when it was cut, is for another verb, or is too old: each is one error', async () => {
    const good = { verb: 'approve', operator: 'operator-1', expires: '2999-01-01T00:00:00.000Z' };
    const said = [
      await send(JSON.stringify(good).slice(0, -9)),
      await send(JSON.stringify({ ...good, verb: 'abort' })),
      await send(JSON.stringify({ ...good, expires: '2020-01-01T00:00:00.000Z' })),
    ];
    expect(said.map(({ code }) => code)).toEqual([1, 1, 1]);
    for (const { err } of said) expect(err).toMatch(/^Error: .+\nTry: .+\n$/);
    expect(said[0]?.err).toMatch(/is no JSON, or was cut/);
    expect(said[1]?.err).toMatch(/is for abort, not approve/);
    expect(said[2]?.err).toMatch(/expired at 2020-01-01.*\nTry: .*--print/);
  });
});

describe('keys', () => {
  it('are made for their owner alone, and never overwritten', async () => {
    const file = join(folder, 'me.pem');
    const made = await tandem(['keys', 'new', 'operator', '--id', 'operator-7', '--out', file]);
    expect(made.out).toContain('take a key of `ssh-keygen -t ed25519` instead');
    expect(made.out).toMatch(/operator-7: \{ key: "ssh-ed25519 AAAA/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const pem = await readFile(file, 'utf8');
    const again = await tandem(['keys', 'new', 'operator', '--out', file]);
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining('exists already') as string });
    expect(await readFile(file, 'utf8')).toBe(pem);
  });

  it('are encrypted with a passphrase, and do not open without it', async () => {
    const file = join(folder, 'locked.pem');
    const approve = ['failover', 'approve', '--site', 'west', '--operator', 'operator-1', '--key', file];
    await tandem(['keys', 'new', 'operator', '--out', file], { TANDEM_PASSPHRASE: 'correct horse' });
    expect(await readFile(file, 'utf8')).toContain('ENCRYPTED');
    expect((await tandem(approve)).err).toMatch(/is encrypted\nTry: .*--passphrase-file/);
    expect((await tandem(approve, { TANDEM_PASSPHRASE: 'wrong' })).err).toMatch(/this passphrase does not open it/);
  });

  it('that others can read, or that are none, are refused', async () => {
    const file = join(folder, 'open.pem');
    await writeFile(file, 'no key', { mode: 0o644 });
    const approve = ['failover', 'approve', '--site', 'west', '--operator', 'operator-1', '--key'];
    expect((await tandem([...approve, file])).err).toMatch(/others than its owner can read it/);
    expect((await tandem([...approve, join(folder, 'gone.pem')])).err).toMatch(/does not exist/);
  });
});

describe('help and the configuration', () => {
  it('tell which version it is', async () => {
    const said = await tandem(['--version']);
    expect(said.code).toBe(0);
    expect(said.out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('is shown of a verb, and of a group without its verb', async () => {
    const [help, group] = await Promise.all([tandem(['failover', '--help']), tandem(['failover'])]);
    expect(help.out).toMatch(/^Usage: tandem failover /);
    expect([help.code, group.code]).toEqual([0, 2]);
  });

  it('is read whole, with the secrets of a site when asked', async () => {
    const { out, code } = await tandem(['config', 'check', '--site', 'west']);
    expect(out).toMatch(/no faults/);
    expect(out).toMatch(/The secrets of west can be read/);
    expect(code).toBe(0);
  });
});

describe('the ways to people outside', () => {
  it('are tried, each by its name; one that is not there is one error', async () => {
    const said = await tandem(['notify', 'test', '--site', 'west']);
    expect(said).toMatchObject({ code: 0, err: '' });
    expect(said.out).toMatch(/^desk +pages +accepted\n$/);
    const none = await tandem(['notify', 'test', '--site', 'west', '--channel', 'pager']);
    expect(none).toMatchObject({ code: 1, out: '' });
    expect(none.err).toMatch(/^Error: channel "pager": site west has desk\nTry: .+\n$/);
  });

  it('are listed by what is asked of whom: nothing of anybody, before users were ever moved', async () => {
    const said = await tandem(['external-update', 'list']);
    expect(said.out).toBe('Nothing is asked of anybody outside for contoso.\n');
    const args = ['--party', 'fabrikam', '--operator', 'operator-1', '--key', 'nowhere'];
    const done = await tandem(['external-update', 'done', ...args]);
    expect(done.err).toMatch(/^Error: party "fabrikam": nothing is asked of it.*\nTry: .+\n$/);
    expect(done.code).toBe(1);
  });
});
