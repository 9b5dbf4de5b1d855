import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { inject } from 'vitest';
import type { Site } from './databases.ts';
import { sql } from './sql.ts';

const PAGE_BYTES = 8192;

/**
 * Writes over the middle of some pages of a table, on the disk of the server, behind its back: it finds that their checksums
 * do not hold, and refuses to read them. Answers how many pages the table has.
 */
export async function damagePages(site: Site, url: string, table: string, pages: readonly number[]): Promise<number> {
  const superuser = Object.assign(new URL(inject('stack').sites[site]?.superuserUrl ?? ''), {
    pathname: new URL(url).pathname,
  }).toString();
  await sql(
    superuser,
    'create schema if not exists lab; create extension if not exists pg_buffercache with schema lab',
  );
  await sql(superuser, `vacuum ${table}`);
  await sql(superuser, 'checkpoint');
  const [place] = await sql<{ folder: string; file: string; pages: number }>(
    superuser,
    `select current_setting('data_directory') as folder, pg_relation_filepath('${table}') as file,
            (pg_relation_size('${table}') / ${PAGE_BYTES})::int as pages`,
  );
  if (!place) throw new Error(`no table ${table}`);
  const file = await open(join(place.folder, place.file), 'r+');
  for (const page of pages) await file.write(Buffer.alloc(64, 0xa5), 0, 64, page * PAGE_BYTES + PAGE_BYTES / 2);
  await file.close();
  await sql(superuser, `select lab.pg_buffercache_evict_relation('${table}')`);
  return place.pages;
}
