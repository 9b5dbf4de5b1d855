import { Client } from 'pg';

/** The rows of one query, on a connection of its own. */
export async function sql<Row extends object = Record<string, unknown>>(url: string, text: string): Promise<Row[]> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined); // A server that is killed under it: the query tells.
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}

/** The machine itself is never lost under a test: what a server has handed to it stands, also when the server is killed. */
export async function spareDisk(superuserUrl: string): Promise<void> {
  await sql(superuserUrl, 'alter system set fsync = off');
  await sql(superuserUrl, 'alter system set full_page_writes = off');
  await sql(superuserUrl, 'select pg_reload_conf()');
}
