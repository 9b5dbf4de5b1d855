import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parse, stringify } from 'yaml';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { writeJournal } from '../../activities/journal/moves.ts';
import { pullJournals } from '../../activities/journal/pull.ts';
import { S3Vault } from '../../activities/vault/s3.ts';
import { openSshLine } from '../../ops/keys.ts';
import { reportHtml, reportNotice } from '../../ops/report-html.ts';
import type { StepReport } from '../../workflows/model/moves.ts';
import type { PairCounts } from '../../workflows/model/subscriptions.ts';
import { CUSTOMER, makeWorld, type World } from '../failover-acts/world.ts';
import { typed, type Said } from '../rig/cli.ts';
import { begin, folder as folderOf, keysOf, note, reportOf } from './journals.ts';
import { tell } from './story.ts';

interface Tree {
  sites: Record<'east' | 'west', Record<'vault' | 'signing' | 'temporal', Record<string, string>>>;
}

let world: World;
let folder: string;
let closed: string;
let running: string;
beforeAll(async () => {
  world = await makeWorld();
  folder = await mkdtemp(join(tmpdir(), 'tandem-evidence-'));
  closed = (await tell(world)).move;
  running = await begin(world);
  await writeJournal(world.west, [{ ...note(running, 'phase/0', { phase: 'approving' }), kind: 'phase' }]);
  const [own, peer] = [new S3Vault(world.vaults.east), new S3Vault(world.vaults.westReader)];
  const { signal } = new AbortController();
  const { publicKeys } = world.settings;
  await pullJournals({ own, peer, customer: CUSTOMER, publicKeys, alive: () => undefined, signal });
  own.close();
  peer.close();
});
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true });
});

/** The stack's configuration for this world's vaults; no Temporal answers, and no signing key is there. */
async function configure(change: (tree: Tree) => void = () => undefined): Promise<string> {
  const { configuration } = inject('stack');
  const text = await readFile(configuration, 'utf8');
  const tree = parse(text.replaceAll('secrets/', `${dirname(configuration)}/secrets/`)) as Tree;
  for (const site of ['east', 'west'] as const) {
    const key = world.settings.publicKeys.get(site);
    tree.sites[site].vault['bucket'] = world.vaults[site].bucket;
    tree.sites[site].temporal['address'] = `127.0.0.1:${site === 'east' ? 1 : 2}`;
    if (key) tree.sites[site].signing['public-key'] = openSshLine(key);
    Object.assign(tree.sites[site].signing, { 'private-key': { file: '/nowhere' } });
  }
  change(tree);
  const file = join(folder, `${Math.random()}.yaml`);
  await writeFile(file, stringify(tree));
  return file;
}

const run = async (args: string[], change?: (tree: Tree) => void): Promise<Said> =>
  typed(folder, args, { TANDEM_CONFIG: await configure(change) });
const westLost = (tree: Tree): void => void (tree.sites.west.vault['endpoint'] = 'http://127.0.0.1:9');

describe('failover report and list', () => {
  it('read the vaults, and the peer’s copy when the survivor’s is away; none of Temporal, databases and keys', async () => {
    const both = await run(['failover', 'report']);
    // Nobody takes an older move for the one that is under way.
    expect(both.err).toMatch(
      new RegExp(
        `^This is of a move that has ended\\. Move ${running} has not \\(approving\\): .*failover watch.*\\n$`,
      ),
    );
    expect(both.out).toContain(`evidence: move ${closed}`);
    expect(both.out).toContain('signed by west, read from vault west');
    expect(both.code).toBe(0);
    const copy = await run(['failover', 'report', '--move', closed], westLost);
    expect(copy.err).toContain('A vault does not answer: vault west:');
    expect(copy.out).toContain('signed by west, read from vault east');
    const list = await run(['failover', 'list'], westLost);
    expect(list.out).toMatch(new RegExp(`${closed} +failover +west +closed `));
    expect(list.out).toMatch(new RegExp(`${running} +failover +west +not closed \\(approving\\)`));
  });

  it('never show a report that its site did not sign', async () => {
    const other = (tree: Tree): void => {
      tree.sites.west.signing['public-key'] = openSshLine(generateKeyPairSync('ed25519').publicKey);
    };
    const said = await run(['failover', 'report', '--move', closed], other);
    expect(said.code).toBe(1);
    expect(said.err).toContain('the signature of west does not hold');
    expect((await run(['failover', 'list'], other)).out).toMatch(/cannot be read: .*does not hold/);
  });

  it('say what there is instead, when a move has no report, is unknown, or no vault answers', async () => {
    const open = await run(['failover', 'report', '--move', running]);
    expect(open.err).toContain('has not been closed; it is approving');
    expect(open.code).toBe(1);
    expect((await run(['failover', 'report', '--move', 'nobody'])).err).toMatch(
      /none in the vaults.*\nTry: `tandem failover list/,
    );
    const none = (tree: Tree): void => {
      westLost(tree);
      tree.sites.east.vault['endpoint'] = 'http://127.0.0.1:9';
    };
    expect((await run(['failover', 'report'], none)).err).toMatch(/none answers: .*\nTry: .*tandem doctor/);
    expect((await run(['failover', 'report', '--site', 'north'])).code).toBe(1);
  });
});

describe('evidence on the command line', () => {
  it('is exported once, verified without any server, and refused when a byte of it is changed or cut', async () => {
    const file = join(folder, 'evidence.json');
    const exported = await run(['evidence', 'export', '--move', closed, '--out', file], westLost);
    expect(exported.err).toBe('');
    expect(exported.out).toContain('from vault east');
    expect(exported.out).toContain(`Next: tandem evidence verify ${file}`);
    expect((await run(['evidence', 'export', '--move', closed, '--out', file])).err).toContain('is there already');
    const away = (tree: Tree): void => {
      westLost(tree);
      tree.sites.east.vault['endpoint'] = 'http://127.0.0.1:9';
    };
    const whole = await run(['evidence', 'verify', file], away);
    expect(whole.out).toContain('Verdict: the evidence holds.');
    expect(whole.code).toBe(0);
    const text = await readFile(file, 'utf8');
    const changed = join(folder, 'changed.json');
    await writeFile(changed, text.replaceAll('fire in the hall', 'fire in the barn'));
    const told = await run(['evidence', 'verify', changed], away);
    expect(told.out).toMatch(/FAILED {2}signatures[\s\S]*FAILED {2}chain[\s\S]*DOES NOT HOLD: signatures, chain/);
    expect(told.code).toBe(1);
    for (const part of [0.3, 0.999]) {
      await writeFile(changed, text.slice(0, Math.floor(text.length * part)));
      const cut = await run(['evidence', 'verify', changed, '--json'], away);
      expect(JSON.parse(cut.out)).toMatchObject({ holds: false, checks: [{ check: 'file', ok: false }] });
      expect(cut.code).toBe(1);
    }
  });

  it('is verified by a key file alone, and as a folder with the objects of a vault', async () => {
    const keys = join(folder, 'keys');
    const objects = join(folder, 'objects');
    await mkdir(join(objects, 'lines'), { recursive: true });
    for (const name of await keysOf(world.west.vault, folderOf(closed))) {
      const [bytes = Buffer.alloc(0)] = await world.west.vault.versions(folderOf(closed) + name);
      await writeFile(join(objects, name), bytes);
    }
    const lines = (['west', 'east'] as const).map((site) => {
      const key = world.settings.publicKeys.get(site);
      return key ? `${openSshLine(key)} ${site}\n` : '';
    });
    await writeFile(keys, lines[0] ?? '');
    const verify = (): Promise<Said> =>
      typed(folder, ['evidence', 'verify', objects, '--public-key', keys], { TANDEM_CONFIG: '/nowhere' });
    const { out, code } = await verify();
    expect(out).toContain('Verdict: the evidence holds.');
    expect(code).toBe(0);
    await writeFile(keys, (lines[1] ?? '').replace(' east', ''));
    expect((await verify()).out).toContain('DOES NOT HOLD: signatures');
    await writeFile(keys, lines[0] ?? '');
    await rm(join(objects, 'lines', '0000000001.json'));
    expect((await verify()).out).toMatch(/DOES NOT HOLD: .*chain/);
  });
});

describe('the report for people', () => {
  const report = {
    ...reportOf('m-1', {
      reason: '<script>alert(1)</script> & "hall" \u202edark\u0007',
      requestedBy: "<img src=x onerror='x'>",
      recoveryPointAgeMs: 3_600_000,
      recoveryPoint: '2026-03-01T03:00:00.000Z',
      servedAt: '2026-03-01T04:10:00.000Z',
      rtoMs: 720_000,
      rtoPromiseMs: 86_400_000,
      mismatches: 0,
      approvals: [{ operator: 'al', at: '2026-03-01T04:05:00.000Z' }],
      notTested: ['message archives: they are not copied'],
      steps: [
        {
          id: 'dns"><b>',
          act: 'shift-dns',
          state: 'skipped',
          round: 0,
          startedAt: null,
          heldAt: null,
          endedAt: null,
          summary: '</td><style>',
          facts: {},
        },
      ],
    }),
    journalHead: 'ab',
  };

  it('shows as text whatever operators have typed, and loads nothing', () => {
    const html = reportHtml(report);
    for (const bad of [
      '<script',
      '<img',
      '<b>',
      '</td><style',
      '\u202e',
      '\u0007',
      'http:',
      'https:',
      "src=x onerror='",
    ])
      expect(html).not.toContain(bad);
    expect(html).toContain('&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;hall&quot; dark');
    expect(html).toContain("default-src 'none'");
  });

  it('says what happened, what it cost, who approved, and what was not tested', () => {
    const html = reportHtml(report);
    expect(html).toContain('12 min 0 s from the loss');
    expect(html).toContain('It was kept.');
    expect(html).toContain('The changes of the last 1 h 00 min');
    expect(html).toContain('<li>al, 2026-03-01 04:05:00 UTC</li>');
    expect(html).toContain('<li>message archives: they are not copied</li>');
    expect(html).toContain('step dns&quot;&gt;&lt;b&gt; (shift-dns) is skipped');
  });

  it('tells how many subscriptions were older than their peers’, and what became of them', () => {
    const [first] = report.steps;
    const counts: PairCounts = {
      pairs: 4000,
      pairsDisagreed: 312,
      pairsMended: 298,
      pairsBlocked: 9,
      pairsOverLimit: 5,
      pairsOneSided: 0,
      pairsWithin: 2,
      pairsElsewhere: 40,
    };
    const told = (change: Partial<PairCounts>): string => {
      const facts = { ...counts, ...change };
      const steps = [{ ...first, act: 'restore-contacts', state: 'done', facts } as StepReport];
      expect(reportHtml({ ...report, steps })).toContain('<th scope="row">Subscriptions</th>');
      return /^Subscriptions: (.*)$/m.exec(reportNotice({ ...report, steps }))?.[1] ?? '';
    };
    expect(told({})).toBe(
      '312 of 4000 pairs disagreed, 298 mended from the current side, 9 left because of a block, 5 left because the contact list is full; 2 pairs of restored users disagree; 40 contacts at other domains cannot be compared.',
    );
    expect(told({ pairsDisagreed: 0, pairsElsewhere: 0 })).toBe(
      'both sides of all 4000 pairs say the same; 2 pairs of restored users disagree.',
    );
    expect(told({ pairsDisagreed: 0, pairsWithin: 0, pairsElsewhere: 0 })).toBe(
      'both sides of all 4000 pairs say the same.',
    );
    expect(reportNotice(report)).not.toContain('Subscriptions'); // Of a move before they were looked at.
  });

  it('never says that nothing was brought back when users are served and a check failed, nor that data was lost when nobody was moved', () => {
    expect(reportHtml({ ...report, rtoMs: null })).toContain(
      '12 min 0 s from the loss until the users were served; the check after it did NOT pass.',
    );
    const aborted = reportHtml({ ...report, rtoMs: null, servedAt: null, outcome: 'aborted' });
    expect(aborted).toContain('The service was not brought back by this move.');
    expect(aborted).toContain('None by this move: nobody was moved.');
  });

  it('tells a customer no operator’s name and no operator’s words', () => {
    const notice = reportNotice(report);
    for (const inner of ['al,', 'script', 'hall', 'img', 'style']) expect(notice).not.toContain(inner);
    expect(notice).toContain('Its users have been served at site west since 2026-03-01 04:10:00 UTC.');
    expect(notice).toContain('- message archives: they are not copied');
    expect(reportNotice({ ...report, servedAt: null, outcome: 'aborted' })).toContain('Its users were not moved');
  });

  it('tells a customer what was not completed in words, and each once', () => {
    const left = report.steps.map((s) => ({ ...s, act: 'restore-contacts' as const, state: 'skipped' as const }));
    const told = reportNotice({ ...report, steps: left }).match(/^- Not completed: .*$/gm);
    expect(told).toEqual(['- Not completed: bringing back your contacts and block lists']);
  });

  it('comes out of the command line as it is', async () => {
    expect((await run(['failover', 'report', '--html'])).out).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/);
    expect((await run(['failover', 'report', '--notice'])).out).toMatch(/^Notice to contoso\n/);
    expect((await run(['failover', 'report', '--html', '--json'])).code).toBe(1);
  });
});
