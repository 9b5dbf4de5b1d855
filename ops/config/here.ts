import { access } from 'node:fs/promises';
import { Fault } from '../fault.ts';
import type { Configuration, SiteConfiguration } from './configuration.ts';
import { pathOf } from './secrets.ts';

/**
 * The sites whose secrets this machine has, told by their signing keys. A real machine has those of its own site, the
 * embedded stack has all, that of an operator none.
 */
export async function sitesHere(configuration: Configuration): Promise<string[]> {
  const sites = [...configuration.sites.values()];
  const here = await Promise.all(sites.map((site) => hasKey(configuration, site)));
  return sites.flatMap(({ site }, i) => (here[i] ? [site] : []));
}

/** The sites of these from which a command can look; all of them where it can from none: then each tells what it lacks. */
export async function sitesToAsk(configuration: Configuration, sites: readonly string[]): Promise<string[]> {
  const here = await sitesHere(configuration);
  const found = sites.filter((site) => here.includes(site));
  return found.length > 0 ? found : [...sites];
}

/** Who is at one site is told to go to the other, not that a file is missing which must never be here. */
export async function requireHere(configuration: Configuration, own: SiteConfiguration): Promise<void> {
  const here = await sitesHere(configuration);
  if (here.length === 0 || here.includes(own.site)) return;
  const { at, path, ...source } = own.privateKey;
  throw new Fault(
    `${at}: ${path}: ${'file' in source ? `file ${source.file}: does not exist` : 'is no file'}; this machine has the secrets of ${here.join(' and ')}, not of ${own.site}`,
    `Give this command on a machine of ${own.site}. If this is one, put its secrets there with mode 600.`,
  );
}

const hasKey = (configuration: Configuration, { privateKey }: SiteConfiguration): Promise<boolean> =>
  'file' in privateKey
    ? access(pathOf(configuration, privateKey.file)).then(
        () => true,
        () => false,
      )
    : Promise.resolve(false);
