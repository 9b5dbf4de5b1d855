import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { partiesOf } from '../../ops/config/parties.ts';
import { Source } from '../../runbooks/yaml.ts';

/** What `customers.CUSTOMER.parties` takes, and what it refuses. */

const federation = 'third-party-federation';
const fabrikam = { option: federation, channel: 'mail', change: 'Let your gateway connect to our other site.' };

function told(parties: unknown, options: string[] = []): string {
  const source = new Source('tandem.yaml', stringify({ parties }));
  const channels = new Map([
    ['east', ['mail', 'desk']],
    ['west', ['mail']],
  ]);
  partiesOf(source.root.fields(['parties']).parties, { options, channels });
  return source.faults.map((f) => `${f.path}: ${f.text}`).join('\n');
}

describe('parties are refused', () => {
  it.each<[string, unknown, string[], RegExp]>([
    [
      'when an option was bought and nobody is to be asked',
      undefined,
      [federation],
      /has third-party-federation, and no/,
    ],
    ['when those of another option are', { fabrikam }, ['public-im'], /has public-im, and no party of that option/],
    [
      'when one site has not the channel',
      { fabrikam: { ...fabrikam, channel: 'desk' } },
      [],
      /no channel of site west/,
    ],
    [
      'when the option asks nobody outside',
      { fabrikam: { ...fabrikam, option: 'external-av' } },
      [],
      /"external-av"; /,
    ],
    ['when nothing is asked', { fabrikam: { ...fabrikam, change: ' ' } }, [], /change: .*a text of 1 to 4000/],
    ['when they are asked every minute', { fabrikam: { ...fabrikam, chase: '1m' } }, [], /chase: "1m"; from 1h to 90d/],
    ['when one has the name of an option', { [federation]: fabrikam }, [], /is the name of an option, not of a party/],
    [
      'when a key is misspelt',
      { fabrikam: { ...fabrikam, chanel: 'x' } },
      [],
      /chanel: unknown key; did you mean channel/,
    ],
  ])('%s', (_, parties, options, why) => expect(told(parties, options)).toMatch(why));
});

it('parties may be none where none is needed', () => {
  expect(told(undefined, ['content-archiving'])).toBe('');
  expect(told({ fabrikam: { ...fabrikam, chase: '7d', contact: 'their desk' } }, [federation])).toBe('');
});
