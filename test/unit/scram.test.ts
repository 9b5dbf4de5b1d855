import { describe, expect, it } from 'vitest';
import { preparedName } from '../../activities/contacts/jid.ts';
import { scramKeys, scramText } from '../../activities/directory/scram.ts';

/** Keys and names as a directory has them. */

const key = Buffer.alloc(20, 7).toString('base64');
const other = Buffer.alloc(20, 9).toString('base64');
const salt = Buffer.from('a salt').toString('base64');
const good = `SCRAM-SHA-1$4096:${salt}$${key}:${other}`;

describe('an attribute of keys says nothing', () => {
  it.each([
    ['', 'when it is empty'],
    ['garbage', 'when it is something else'],
    [good.replace('SHA-1', 'SHA-256'), 'when it is of another scheme'],
    ['{SSHA}c29tZXRoaW5n', 'when it is a password of LDAP'],
    [good.replace('4096', '4095'), 'with fewer iterations than RFC 5802 allows'],
    [good.replace('4096', '99999999'), 'with more than a sign-in can bear'],
    [good.replace('4096', '-4096'), 'with a count that is none'],
    [good.replace(key, Buffer.alloc(19).toString('base64')), 'with a key that is too short'],
    [good.replace(other, Buffer.alloc(32).toString('base64')), 'with a key of another hash'],
    [good.replace(salt, ''), 'without a salt'],
    [good.replace(key, key.replace('=', '')), 'with base64 that was cut'],
    [`${good}:x`, 'with more behind it'],
    [good.replace(salt, `${salt}\nx`), 'with a line break'],
  ])('%j %s', (value) => expect(scramKeys([value])).toBeNull());

  it('when two values differ; nobody could say which is his', () => {
    expect(scramKeys([good, good.replace(key, other)])).toBeNull();
    expect(scramKeys([])).toBeNull();
  });
});

it('keys are read as RFC 5803 writes them, beside others that are not for us', () => {
  const keys = { storedKey: key, serverKey: other, salt, iterations: 4096 };
  expect(scramKeys([good])).toEqual(keys);
  expect(scramKeys(['{SSHA}x', ` scram-sha-1 $ 4096 : ${salt} $ ${key} : ${other} `])).toEqual(keys);
  expect(scramKeys([good, good])).toEqual(keys);
  expect(scramText(keys)).toBe(good);
});

it.each([
  ['Anna', 'anna'],
  ['anna.lind', 'anna.lind'],
  ['ÅSA', 'åsa'],
  ['straße', 'strasse'],
  ['a b', null],
  ['a@b', null],
  ['a/b', null],
  ["o'hara", null],
  ['', null],
  ['\u{1f600}', null],
  ['x'.repeat(1024), null],
])('the service knows %j as %j', (typed, known) => expect(preparedName(typed)).toBe(known));
