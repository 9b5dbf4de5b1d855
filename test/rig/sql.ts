import { Client } from 'pg';

/** The rows of one query, on a connection of its own. */
export async function sql<Row extends object = Record<string, unknown>>(url: string, text: string): Promise<Row[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(text)).rows;
  } finally {
    await client.end();
  }
}
