import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { refuse, signedText, type Claim, type SignedVerb } from '../../workflows/model/approvals.ts';
import { signWith } from '../../ops/signer.ts';
import { whyNotSigned } from '../../workflows/model/sshsig.ts';

/** Keys and signatures of the machine's own ssh-keygen. */

const SSH_KEYGEN = ['/usr/bin/ssh-keygen', '/usr/local/bin/ssh-keygen'].find(existsSync);
const text = 'tandem/1 approve\ncustomer: contoso\nbecause: "Feuer, ça brûle 🔥"\n';
let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tandem-sshsig-'));
  if (SSH_KEYGEN === undefined) return;
  for (const [name, type] of [
    ['one', 'ed25519'],
    ['two', 'ed25519'],
    ['rsa', 'rsa'],
  ] as const)
    execFileSync(SSH_KEYGEN, ['-q', '-t', type, '-N', '', '-f', join(folder, name)]);
});
afterAll(() => rmSync(folder, { recursive: true }));

function signed(by: string, what = text, ...options: string[]): string {
  const file = join(folder, 'text');
  writeFileSync(file, what);
  const args = ['-Y', 'sign', '-f', join(folder, by), ...(options.length > 0 ? options : ['-n', 'tandem']), file];
  execFileSync(SSH_KEYGEN ?? '', args, { stdio: 'ignore' });
  const signature = readFileSync(`${file}.sig`, 'utf8');
  rmSync(`${file}.sig`);
  return signature;
}
/** The last 32 bytes of the public key's line. */
function keyOf(name: string): string {
  const [, line = ''] = readFileSync(join(folder, `${name}.pub`), 'utf8').split(' ');
  return Buffer.from(line, 'base64').subarray(-32).toString('hex');
}

// Without ssh-keygen there is nobody else's signature to try.
describe.skipIf(SSH_KEYGEN === undefined)('a pasted SSH signature', () => {
  it('is refused over another text, of another key, for something else, or by another kind of key', () => {
    expect(whyNotSigned(signed('one'), `${text} `, keyOf('one'))).toBe('it is over another text');
    expect(whyNotSigned(signed('two'), text, keyOf('one'))).toBe('it is of another key');
    expect(whyNotSigned(signed('one', text, '-n', 'git'), text, keyOf('one'))).toMatch(/^it was made for "git"/);
    expect(whyNotSigned(signed('rsa'), text, keyOf('one'))).toMatch(/^it is of a key of type ssh-rsa/);
  });

  it('is refused when it is cut, longer, or changed anywhere', () => {
    const whole = signed('one');
    const lines = whole.trim().split('\n');
    expect(whyNotSigned(lines.slice(0, -1).join('\n'), text, keyOf('one'))).toMatch(/paste it from BEGIN to END/);
    expect(whyNotSigned([...lines.slice(0, 2), ...lines.slice(-1)].join('\n'), text, keyOf('one'))).not.toBeNull();
    expect(whyNotSigned(`${whole}${'\n'.repeat(5000)}x`, text, keyOf('one'))).not.toBeNull();
    const bytes = Buffer.from(lines.slice(1, -1).join(''), 'base64');
    const armored = (b: Buffer): string => [lines[0], b.toString('base64'), lines.at(-1)].join('\n');
    expect(whyNotSigned(armored(bytes), text, keyOf('one'))).toBeNull();
    for (let i = 0; i < bytes.length; i += 1) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8(bytes.readUInt8(i) ^ 1, i);
      expect(whyNotSigned(armored(changed), text, keyOf('one')), `byte ${i}`).not.toBeNull();
    }
    expect(whyNotSigned(armored(Buffer.concat([bytes, Buffer.of(0)])), text, keyOf('one'))).toMatch(/more bytes/);
  });

  it('holds, with either hash', () => {
    expect(whyNotSigned(signed('one'), text, keyOf('one'))).toBeNull();
    expect(whyNotSigned(signed('one', text, '-n', 'tandem', '-O', 'hashalg=sha256'), text, keyOf('one'))).toBeNull();
  });

  it('counts as an operator’s word, and no other operator’s', () => {
    const now = Date.parse('2030-01-01T00:00:00.000Z');
    const approver = (id: string): Claim['approvers'][number] => ({ id, key: keyOf(id), roles: ['approve'] });
    const approvers = [approver('one'), approver('two')];
    const claim: Claim = { customer: 'c', move: 'm', epoch: 2, digest: 'd1', approvers, usedNonces: new Set(), now };
    const v: Omit<SignedVerb, 'signature'> = {
      verb: 'approve',
      operator: 'one',
      digest: 'd1',
      nonce: 'ab'.repeat(16),
      expires: new Date(now + 1000).toISOString(),
    };
    const signature = signed('one', signedText(claim, v));
    expect(refuse(claim, { ...v, signature })).toBeNull();
    expect(refuse({ ...claim, move: 'm2' }, { ...v, signature })).toMatch(/does not hold: it is over another text/);
    const two = { ...v, operator: 'two' };
    expect(refuse(claim, { ...two, signature: signed('one', signedText(claim, two)) })).toMatch(/of another key/);
  });
});

// Nor a private key that was not made by us.
describe.skipIf(SSH_KEYGEN === undefined)('a private key of OpenSSH', () => {
  const locked = (): string => join(folder, 'locked');
  const asked = (answer: string): void => {
    const file = join(folder, 'askpass');
    writeFileSync(file, `#!/bin/sh\necho '${answer}'\n`, { mode: 0o700 });
    vi.stubEnv('SSH_ASKPASS', file);
    vi.stubEnv('SSH_ASKPASS_REQUIRE', 'force');
  };
  beforeAll(() => void execFileSync(SSH_KEYGEN ?? '', ['-q', '-t', 'ed25519', '-N', 'open it', '-f', locked()]));
  afterEach(() => void vi.unstubAllEnvs());

  it('that is encrypted does not sign by a wrong passphrase, nor by one from a file', async () => {
    asked('a guess');
    await expect(signWith(locked(), text)).rejects.toThrow(/locked: ssh-keygen did not sign \(.+\)$/);
    await expect(signWith(locked(), text, join(folder, 'x'))).rejects.toThrow(/ssh-keygen asks for itself/);
  });
  it('does not sign on a machine without ssh-keygen, nor when others can read it', async () => {
    vi.stubEnv('PATH', folder);
    await expect(signWith(join(folder, 'one'), text)).rejects.toThrow(/ssh-keygen is not on this machine/);
    chmodSync(join(folder, 'two'), 0o644);
    await expect(signWith(join(folder, 'two'), text)).rejects.toThrow(/others than its owner can read it/);
  });
  it('signs where it lies, encrypted or not', async () => {
    expect(whyNotSigned(await signWith(join(folder, 'one'), text), text, keyOf('one'))).toBeNull();
    asked('open it');
    expect(whyNotSigned(await signWith(locked(), text), text, keyOf('locked'))).toBeNull();
  });
});
