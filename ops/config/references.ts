import type { Cursor } from '../../runbooks/yaml.ts';
import type { AccountReference, PlacedFile, SecretReference } from './configuration.ts';

/** Where secrets lie, as `tandem.yaml` says it. */

export function accountOf(at: Cursor): AccountReference {
  const fields = at.fields(['access-key-id', 'secret-access-key']);
  return { accessKeyId: secretOf(fields['access-key-id']), secretAccessKey: secretOf(fields['secret-access-key']) };
}

/** A reference to a secret. A literal is refused, and not repeated: it may be one. */
export function secretOf(at: Cursor): SecretReference {
  const place = { at: at.source.at(at.node?.range?.[0] ?? 0), path: at.path.join('.') };
  if (!at.present) {
    at.fault('nothing; where the secret lies is expected: { file: PATH } or { env: NAME }');
    return { env: '', ...place };
  }
  if (at.seen() !== 'a map') {
    at.fault('a secret is never written here: { file: PATH } or { env: NAME } is allowed');
    return { env: '', ...place };
  }
  const { file, env } = at.fields(['file', 'env']);
  if (file.present === env.present) {
    at.fault('exactly one of file and env is allowed');
    return { env: '', ...place };
  }
  return file.present
    ? { file: file.text('a path is expected'), ...place }
    : {
        env: env.text('the name of an environment variable is expected', (v) => /^[A-Z][A-Z0-9_]*$/.test(v)),
        ...place,
      };
}

/** Empty for a reference that was a fault already. */
export const sourceOf = (s: SecretReference): string => ('file' in s ? `file ${s.file}` : s.env && `env ${s.env}`);

/** A file that is no secret, and where the configuration names it. */
export const fileOf = (at: Cursor): PlacedFile => ({
  file: at.text('a path is expected'),
  at: at.source.at(at.node?.range?.[0] ?? 0),
  path: at.path.join('.'),
});
