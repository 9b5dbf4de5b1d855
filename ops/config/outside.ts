import type { CommandSettings, RequestSettings } from '../../activities/settings.ts';
import type { Cursor } from '../../runbooks/yaml.ts';
import { endpoint } from './addresses.ts';
import type { PlacedFile } from './configuration.ts';
import { fileOf } from './references.ts';

/** What a site allows its moves to ask of services that are not ours, as `tandem.yaml` says it. */

const S = 1000;
/**
 * While an effect outside is under way no newer epoch can be taken: a move that supersedes this one waits for so long at
 * the most, well within the attempts of its own step. What takes longer answers "not yet" and is asked again.
 */
const LONGEST_MS = 120 * S;
const USUAL_MS = 30 * S;
const USUAL_OUTPUT = 64 * 1024;
const MOST_OUTPUT = 16 * 1024 * 1024;

const methods = ['POST', 'PUT', 'PATCH', 'DELETE'] as const;

/** A request as configured: its certificates are a file still. */
export type RequestConfiguration = Omit<RequestSettings, 'ca'> & { ca: PlacedFile | null };

export function requestsOf(at: Cursor): ReadonlyMap<string, RequestConfiguration> {
  return new Map(at.present ? at.entries('request').map(([name, place]) => [name, requestOf(place)]) : []);
}

export function commandsOf(at: Cursor): ReadonlyMap<string, CommandSettings> {
  return new Map(at.present ? at.entries('command').map(([name, place]) => [name, commandOf(place)]) : []);
}

function requestOf(at: Cursor): RequestConfiguration {
  const f = at.fields(['url', 'method', 'timeout', 'ca', 'expects', 'check']);
  const address = (field: Cursor): string =>
    field.text(
      'https without user, password and fragment is expected; http is allowed on loopback only',
      plainEndpoint,
    );
  const expects = f.expects.present ? f.expects.items() : [];
  if (f.expects.present && expects.length === 0)
    f.expects.fault('no status is expected; at least one is, or leave it out');
  return {
    url: address(f.url),
    method: f.method.present ? f.method.oneOf(methods) : 'POST',
    timeoutMs: limit(f.timeout),
    ca: f.ca.present ? fileOf(f.ca) : null,
    expects: f.expects.present ? expects.map(statusOf) : null,
    check: f.check.present ? address(f.check) : null,
  };
}

/** What stands in an address is seen in errors and histories: a password never is. */
function plainEndpoint(value: string): boolean {
  if (!endpoint(value)) return false;
  const { username, password, hash } = new URL(value);
  return username === '' && password === '' && hash === '';
}

function statusOf(item: Cursor): number {
  const status = item.integer(200, 499);
  if (status >= 300 && status < 400) item.fault(`${status}; a redirect is never followed, and never done`);
  return status;
}

function commandOf(at: Cursor): CommandSettings {
  const f = at.fields(['run', 'timeout', 'output', 'environment', 'check']);
  return {
    run: argumentsOf(f.run),
    timeoutMs: limit(f.timeout),
    outputBytes: f.output.integer(1024, MOST_OUTPUT, USUAL_OUTPUT),
    environment: f.environment.present ? f.environment.items().map(variableOf) : [],
    check: f.check.present ? argumentsOf(f.check) : null,
  };
}

function argumentsOf(at: Cursor): string[] {
  const [program, ...rest] = at.items();
  if (!program) {
    at.fault('an absolute path and its arguments are expected: [/usr/local/bin/tell-pbx, --site, west]');
    return [];
  }
  const path = program.text('an absolute path is expected: no shell, no PATH looks for it', (v) =>
    /^\/[^\0]+$/.test(v),
  );
  return [path, ...rest.map((item) => item.text('a text is expected; quote numbers', (v) => !v.includes('\0')))];
}

/** Names that start with TANDEM_ are what the step itself tells, and the worker's own secrets. */
const variableOf = (item: Cursor): string =>
  item.text('the name of an environment variable is expected, and none that starts with TANDEM_', (v) =>
    /^(?!TANDEM_)[A-Za-z_][A-Za-z0-9_]*$/.test(v),
  );

function limit(at: Cursor): number {
  const ms = at.duration(USUAL_MS);
  if (ms > LONGEST_MS)
    at.fault(`${at.seen()}; at most 2m is allowed: a newer move waits for it. What takes longer is asked again`);
  return ms;
}
