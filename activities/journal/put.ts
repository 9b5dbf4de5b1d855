import { failure } from '../../workflows/model/failures.ts';
import { canonicalJson } from '../../workflows/model/plan.ts';
import type { OwnSite } from '../services/site.ts';
import { oldestValid, seal, type Purpose } from '../vault/signed.ts';

/** Puts a signed document under a key once. What stands there already must say the same, under whichever valid signature. */
export async function putSealed(
  site: OwnSite,
  { purpose, key, document, lockUntil }: { purpose: Purpose; key: string; document: unknown; lockUntil: Date },
  signal: AbortSignal | undefined,
): Promise<void> {
  const { settings, vault } = site;
  const options = signal ? { signal } : {};
  const body = seal(purpose, settings.site, settings.signingKey, document);
  if ((await vault.put(key, body, { lockUntil, ...options })) !== 'taken') return;
  const there = oldestValid<unknown>(purpose, settings.publicKeys, await vault.versions(key, options), key);
  if (canonicalJson(there?.document) !== canonicalJson(document)) {
    throw failure('vault-refused', `vault of ${settings.site}, ${key}: another ${purpose} stands there`);
  }
}
