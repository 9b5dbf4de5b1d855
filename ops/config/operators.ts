import type { Admission, Operator } from '../../activities/settings.ts';
import type { Cursor } from '../../runbooks/yaml.ts';
import { roles, type Approver } from '../../workflows/model/plan.ts';
import type { Timestamp } from '../../workflows/model/snapshots.ts';
import { publicKeyOf, rawHex } from '../keys.ts';

/** The operators, as `tandem.yaml` says them. */

export function operatorOf(id: string, at: Cursor): Operator {
  const { key, roles: given, expires, admitted } = at.fields(['key', 'roles', 'expires', 'admitted']);
  const line = key.text('an OpenSSH line is expected: ssh-ed25519 AAAA…', (k) => publicKeyOf(k) !== null);
  const publicKey = publicKeyOf(line);
  return {
    id,
    key: publicKey ? rawHex(publicKey) : '',
    roles: given.listOf(roles),
    ...(expires.present && { expires: momentOf(expires) }),
    ...(admitted.present && { admitted: admitted.items().map(admissionOf) }),
  };
}

function admissionOf(place: Cursor): Admission {
  const { by, at, signature } = place.fields(['by', 'at', 'signature']);
  return {
    by: by.text('the id of an operator is expected'),
    at: at.text('a time such as 2030-06-01T12:00:00Z is expected', (v) => !Number.isNaN(Date.parse(v))),
    signature: signature.text('a signature is expected: `tandem keys admit` makes it'),
  };
}

/** A day is its first moment, UTC; a time says its zone, or it means another one elsewhere. */
function momentOf(at: Cursor): Timestamp {
  const text = at.text(
    'a day such as 2030-06-01 or a time such as 2030-06-01T12:00:00Z is expected',
    (v) => /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$/.test(v) && !Number.isNaN(Date.parse(v)),
  );
  return text === '' ? text : new Date(text).toISOString();
}

export function enoughOperators(at: Cursor, operators: Approver[]): void {
  const may = operators.filter((o) => o.roles.includes('approve') || o.roles.includes('commander'));
  if (may.length >= 2 && may.some((o) => o.roles.includes('commander'))) return;
  at.fault(
    `${may.length} may approve, ${may.filter((o) => o.roles.includes('commander')).length} of them commander; a failover takes two, one of them a commander: roles: [declare, approve, commander, operate]`,
  );
}

/** A failover names who declared it. */
export function somebodyDeclares(at: Cursor, operators: Approver[]): void {
  if (operators.some((o) => o.roles.includes('declare'))) return;
  at.fault('nobody has the role declare; a failover is declared by one who has: roles: [declare, approve, operate]');
}
