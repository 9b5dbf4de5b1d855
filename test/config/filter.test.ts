import { describe, expect, it } from 'vitest';
import { filterOf } from '../../ops/config/filter.ts';
import {
  defaultExtensions,
  defaultFilter,
  filterDigest,
  filterDifferences,
  filterDocument,
} from '../../activities/filter/policy.ts';
import { Source } from '../../runbooks/yaml.ts';

/** What `customers.CUSTOMER.filter` takes, and what it refuses. */

function read(text: string): { filter: ReturnType<typeof filterOf>; faults: string[] } {
  const source = new Source('tandem.yaml', text);
  const filter = filterOf(source.root.fields(['filter']).filter);
  return { filter, faults: source.faults.map((f) => `${f.path}: ${f.text}`) };
}

describe('a filter is refused', () => {
  it.each<[string, string, RegExp]>([
    ['with a mode that is none', 'urls: allow', /filter.urls: "allow"; .*allow-all/],
    ['with a mode of files for links', 'urls: block-all', /filter.urls: "block-all"; /],
    ['with a key that is misspelt', 'file: allow-all', /filter.file: unknown key; did you mean files/],
    ['with an extension without its dot', 'extensions: [exe]', /extensions.0: "exe"; an extension such as .exe/],
    ['with a pattern for an extension', "extensions: ['.e*']", /extensions.0: ".e\*"; an extension/],
    ['with two dots', 'extensions: [.tar.gz]', /extensions.0: ".tar.gz"; an extension/],
    ['with a list that blocks nothing', 'extensions: []', /extensions: an empty list blocks nothing/],
    ['with a whole top-level domain as its intranet', 'intranet: [com]', /intranet.0: "com"; a domain such as/],
    ['with an address for a domain', "intranet: ['http://wiki.contoso.example']", /intranet.0: .*a domain such as/],
    ['with a part of a number', "intranet: ['10.1']", /intranet.0: "10.1"; a domain such as/],
    ['with a number in another form', "intranet: ['0x0a000001']", /intranet.0: .*a domain such as/],
    ['with a pattern for a domain', "intranet: ['*.contoso.example']", /intranet.0: .*a domain such as/],
  ])('%s', (_, text, why) => expect(read(`filter: { ${text} }`).faults.join('\n')).toMatch(why));

  it('with all that is wrong at once', () => {
    expect(read('filter: { urls: no, files: no, extensions: [a, b], intranet: [com] }').faults).toHaveLength(5);
  });
});

describe('a filter', () => {
  it('is the default where none is given, with the list of the service', () => {
    expect(read('filter:')).toEqual({ filter: defaultFilter, faults: [] });
    expect(defaultExtensions).toHaveLength(77);
    expect(new Set(defaultExtensions).size).toBe(77);
  });

  it('takes a list of its own, or one more than the default; what YAML takes for numbers is an extension', () => {
    expect(read('filter: { extensions: [.EXE, .inf, .nan, .exe] }')).toMatchObject({
      filter: { ...defaultFilter, extensions: ['exe', 'inf', 'nan'] },
      faults: [],
    });
    const { filter, faults } = read('filter: { extensions: [default, .zip] }');
    expect([filter.extensions.length, filter.extensions.at(-1), faults]).toEqual([78, 'zip', []]);
  });

  it('takes domains as people write them, and keeps them as name servers have them', () => {
    const { filter, faults } = read('filter: { intranet: [Contoso.example, münchen.example, corp, 10.1.2.3] }');
    expect(faults).toEqual([]);
    expect(filter.intranet).toEqual(['contoso.example', 'xn--mnchen-3ya.example', 'corp', '10.1.2.3']);
  });

  it('is the same in whatever order it is written', () => {
    const one = { ...defaultFilter, extensions: ['b', 'a'], intranet: ['y.example', 'x.example'] };
    const other = { ...defaultFilter, intranet: ['x.example', 'y.example'], extensions: ['a', 'b', 'a'] };
    expect(filterDigest(one)).toBe(filterDigest(other));
  });

  it('says how another one differs, whatever that is', () => {
    const other = filterDocument({
      ...defaultFilter,
      urls: 'allow-all',
      extensions: ['zip', ...defaultExtensions.slice(7)],
    });
    expect(filterDifferences(defaultFilter, other)).toEqual([
      'extensions without ade, adp, app, asp, bas and 2 more',
      'extensions with zip',
      'urls allow-all instead of allow-active-links',
    ]);
    expect(filterDifferences(defaultFilter, filterDocument(defaultFilter))).toEqual([]);
    for (const text of ['', 'null', '[]', '"x"', '{']) {
      expect(filterDifferences(defaultFilter, text)).toEqual(['it cannot be read']);
    }
    expect(filterDifferences(defaultFilter, '{}')).toHaveLength(5);
  });
});
