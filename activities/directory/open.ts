import type { Database } from '../contacts/database.ts';
import type { DirectorySettings } from '../settings.ts';
import { ldapDirectory } from './ldap.ts';
import type { Directory } from './port.ts';
import { tableDirectory } from './table.ts';

/** The customer's directory as this site asks it; one that is a table lies in `database`. */
export function openDirectory({ source }: DirectorySettings, database: Database): Directory {
  switch (source.kind) {
    case 'ldap':
      return ldapDirectory(source.ldap);
    case 'table':
      return tableDirectory(database);
    default:
      return source satisfies never;
  }
}
