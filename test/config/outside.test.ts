import { describe, expect, it } from 'vitest';
import { commandsOf, requestsOf, type RequestConfiguration } from '../../ops/config/outside.ts';
import type { CommandSettings } from '../../activities/settings.ts';
import { faultLine, Source } from '../../runbooks/yaml.ts';

/** What a site allows its moves to ask of others: `requests` and `commands`. */

interface Parsed<T> {
  entry: T | undefined;
  faults: string[];
}

function read<T>(text: string, parse: (at: Source['root']) => ReadonlyMap<string, T>): Parsed<T> {
  const source = new Source('t.yaml', `warn: ${text}`);
  const entry = parse(source.root).get('warn');
  return { entry, faults: source.faults.map(faultLine) };
}
const request = (text: string): Parsed<RequestConfiguration> => read(text, requestsOf);
const command = (text: string): Parsed<CommandSettings> => read(text, commandsOf);

describe('a request is refused', () => {
  it.each([
    ['http://pbx.example/warn', /url: "http:.*https without user/],
    ['https://user:secret@pbx.example/warn', /https without user, password and fragment/],
    ['https://pbx.example/warn#here', /fragment/],
    ['ftp://127.0.0.1/x', /https without/],
    ['pbx.example', /https without/],
    ['http://localhost.example/x', /https without/],
  ])('at %s', (url, fault) => {
    expect(request(`{ url: '${url}' }`).faults.join()).toMatch(fault);
  });

  it('with all that is wrong with it at once', () => {
    const all = `{ url: x, method: GET, timeout: 3m, ca: 5, expects: [200, 302, 99], check: 'http://pbx.example', retry: 1 }`;
    expect(request(all).faults.map((line) => line.replace(/^t\.yaml:1:\d+: /, ''))).toEqual([
      expect.stringMatching(/^warn\.retry: unknown key; allowed: url, method/),
      expect.stringMatching(/^warn\.url: "x"; https/),
      expect.stringMatching(/^warn\.method: "GET"; .*allowed: POST, PUT, PATCH, DELETE/),
      'warn.timeout: "3m"; at most 2m is allowed: a newer move waits for it. What takes longer is asked again',
      'warn.ca: 5; a path is expected',
      'warn.expects.1: 302; a redirect is never followed, and never done',
      'warn.expects.2: 99; a whole number from 200 to 499 is allowed',
      expect.stringMatching(/^warn\.check: "http:.*https/),
    ]);
    expect(request('{ url: https://pbx.example, expects: [] }').faults.join()).toMatch(/no status is expected/);
  });
});

describe('a command is refused', () => {
  it.each([
    ['{ run: tell-pbx }', /run: "tell-pbx"; a list is expected/],
    ['{ run: [] }', /an absolute path and its arguments are expected/],
    ['{ run: [tell-pbx, x] }', /run\.0: "tell-pbx"; an absolute path is expected: no shell/],
    ['{ run: [/bin/tell, 5] }', /run\.1: 5; a text is expected; quote numbers/],
    ['{ run: [/bin/tell], timeout: 1h }', /at most 2m is allowed/],
    ['{ run: [/bin/tell], output: 17000000 }', /from 1024 to 16777216/],
    ['{ run: [/bin/tell], environment: [TANDEM_CONFIG] }', /none that starts with TANDEM_/],
    ['{ run: [/bin/tell], environment: ["A=B"] }', /the name of an environment variable/],
    ['{ run: [/bin/tell], check: [look] }', /check\.0: "look"; an absolute path/],
    ['{ command: [/bin/tell] }', /command: unknown key/],
  ])('as %s', (text, fault) => {
    expect(command(text).faults.join('\n')).toMatch(fault);
  });
});

describe('what is left out', () => {
  it('is POST, 30 seconds, any success, and no check', () => {
    expect(request('{ url: https://pbx.example/warn }')).toEqual({
      faults: [],
      entry: {
        url: 'https://pbx.example/warn',
        method: 'POST',
        timeoutMs: 30_000,
        ca: null,
        expects: null,
        check: null,
      },
    });
    expect(request("{ url: 'http://127.0.0.1:80/x' }").faults).toEqual([]);
    expect(command('{ run: [/bin/tell, --site] }')).toEqual({
      faults: [],
      entry: { run: ['/bin/tell', '--site'], timeoutMs: 30_000, outputBytes: 65_536, environment: [], check: null },
    });
  });
});
