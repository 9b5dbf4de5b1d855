import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';

/** What the slapd of the reference service is told. */

export const SCHEMAS = '/etc/ldap/schema';

export interface SlapdOptions {
  /** Whose log and data it is: the name of a place of the stack. */
  site: string;
  /** Loopback: 127.0.0.n. */
  address: string;
  port: number;
  /** Another port, for StartTLS; left out: there is none. */
  plainPort?: number;
  /** PEM files: its certificate with its key, for `address`; and the authority that signed it. */
  certificate: string;
  authority: string;
  /** dc=contoso,dc=example */
  suffix: string;
  /** Users whom one answer may hold; more is cut off. Left out: any number. */
  sizeLimit?: number;
}

/** How its accounts reach it. */
export interface SlapdAccess {
  url: string;
  /** Below it are the people. */
  base: string;
  /** May read who is entitled, homes and keys, and nothing else anywhere. */
  reader: { dn: string; password: string };
  /** May do everything. */
  administrator: { dn: string; password: string };
  authority: string;
}

/** OIDs without a registry (X.667): of a UUID that was drawn for these four. */
const OID = '2.25.24947265427155321703400075358023574188';

/** authPassword is RFC 3112's, which OpenLDAP does not know by itself. */
const SCHEMA = `dn: cn=tandem,cn=schema,cn=config
objectClass: olcSchemaConfig
cn: tandem
olcAttributeTypes: ( 1.3.6.1.4.1.4203.1.3.4 NAME 'authPassword' DESC 'keys, RFC 5803'
  EQUALITY caseExactIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
olcAttributeTypes: ( ${OID}.1 NAME 'tandemEntitled' DESC 'has an account'
  EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
olcAttributeTypes: ( ${OID}.2 NAME 'tandemHome' DESC 'the site where the user is at home'
  EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE )
olcObjectClasses: ( ${OID}.3 NAME 'tandemUser' DESC 'may be given an account'
  SUP top AUXILIARY MAY ( tandemEntitled $ tandemHome $ authPassword ) )
`;

/** The whole of cn=config, as LDIF. */
export function slapdConfiguration(home: string, { sizeLimit, suffix }: SlapdOptions, slapd: SlapdAccess): string {
  const { reader, administrator } = slapd;
  const server = join(home, 'server.pem');
  const limits = sizeLimit === undefined ? 'unlimited' : String(sizeLimit);
  return `dn: cn=config
objectClass: olcGlobal
cn: config
olcTLSCACertificateFile: ${join(home, 'ca.pem')}
olcTLSCertificateFile: ${server}
olcTLSCertificateKeyFile: ${server}
olcTLSVerifyClient: never
olcDisallows: bind_anon
olcRequires: authc
olcLocalSSF: 0
olcSecurity: ssf=128

dn: cn=module,cn=config
objectClass: olcModuleList
cn: module
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

${['core', 'cosine', 'inetorgperson'].map((name) => `include: file://${SCHEMAS}/${name}.ldif\n`).join('\n')}
${SCHEMA}
dn: olcDatabase={-1}frontend,cn=config
objectClass: olcDatabaseConfig
objectClass: olcFrontendConfig
olcDatabase: {-1}frontend
olcAccess: to * by * none

dn: olcDatabase={0}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {0}config
olcAccess: to * by * none

dn: olcDatabase={1}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {1}mdb
olcDbDirectory: ${join(home, 'data')}
olcDbMaxSize: 1073741824
olcDbNoSync: TRUE
olcDbIndex: objectClass,uid eq
olcDbIndex: tandemEntitled pres,eq
olcSuffix: ${suffix}
olcRootDN: ${administrator.dn}
olcRootPW: ${hashed(administrator.password)}
olcLimits: dn.exact="${reader.dn}" size=${limits} size.prtotal=${limits}
olcAccess: to dn.exact="${reader.dn}" attrs=userPassword by anonymous auth by * none
olcAccess: to dn.subtree="${slapd.base}" attrs=entry,objectClass,ref,uid,tandemEntitled,tandemHome,authPassword by dn.exact="${reader.dn}" read by * none
olcAccess: to * by dn.exact="${reader.dn}" none by * none
`;
}

/** What an empty directory holds: the place of its people, and the account that reads them. */
export function roots({ suffix }: SlapdOptions, { base, reader }: SlapdAccess): string {
  const dc = /^dc=([^,]+)/.exec(suffix)?.[1] ?? '';
  return `dn: ${suffix}
objectClass: dcObject
objectClass: organization
dc: ${dc}
o: ${dc}

dn: ${base}
objectClass: organizationalUnit
ou: people

dn: ${reader.dn}
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: tandem
userPassword: ${hashed(reader.password)}
`;
}

/** Salted SHA-1 is what every slapd knows; the passwords are random, and long. */
function hashed(password: string): string {
  const salt = randomBytes(8);
  const digest = createHash('sha1').update(password).update(salt).digest();
  return `{SSHA}${Buffer.concat([digest, salt]).toString('base64')}`;
}
