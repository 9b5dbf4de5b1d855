import { isAbsolute, join } from 'node:path';
import { Fault } from '../fault.ts';
import { readSecretFile } from '../keys.ts';
import type { Configuration, SecretReference } from './configuration.ts';

/** A path of the configuration, as seen from the configuration's own folder. */
export const pathOf = (configuration: Configuration, file: string): string =>
  isAbsolute(file) ? file : join(configuration.folder, file);

/** A secret's text. Errors name its place and its source, never its content. */
export async function secretText(configuration: Configuration, reference: SecretReference): Promise<string> {
  if ('file' in reference) {
    try {
      return await readSecretFile(pathOf(configuration, reference.file), `${reference.at}: ${reference.path}: file`);
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw new Fault(`${reference.at}: ${reference.path}: ${String(error)}`, 'Look at the file.');
    }
  }
  const value = process.env[reference.env];
  if (value !== undefined && value !== '') return value;
  throw new Fault(
    `${reference.at}: ${reference.path}: the environment variable ${reference.env} is ${value === undefined ? 'not set' : 'empty'}`,
    `Set ${reference.env}, or name a file instead.`,
  );
}
