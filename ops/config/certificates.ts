import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { Fault } from '../fault.ts';
import type { Configuration, PlacedFile } from './configuration.ts';
import { pathOf } from './secrets.ts';

/** Certificates are read before anything starts: in the middle of a move is too late to find out. */
export async function certificates(configuration: Configuration, place: PlacedFile | null): Promise<string | null> {
  if (place === null) return null;
  const expected = 'A file of certificates in PEM is expected, beside the configuration or by its absolute path.';
  try {
    const pem = await readFile(pathOf(configuration, place.file), 'utf8');
    createSecureContext({ ca: pem });
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
  } catch (error) {
    throw new Fault(`${place.at}: ${place.path}: ${place.file}: ${String(error)}`, expected);
  }
  throw new Fault(`${place.at}: ${place.path}: ${place.file}: holds no certificate`, expected);
}
