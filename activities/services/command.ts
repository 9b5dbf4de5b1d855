import { failure } from '../../workflows/model/failures.ts';
import type { CommandSettings, SiteSettings } from '../settings.ts';
import { listed, type OutsideCall, type OutsideEffect, type OutsideLimits } from './port.ts';
import { supervise } from './supervise.ts';
import type { CommandEnd } from './supervisor-messages.ts';

/** EX_TEMPFAIL of sysexits.h: not yet, ask again. */
export const TRY_AGAIN = 75;
/** Ours: a newer epoch is known there. */
export const STALE_EPOCH = 76;

/** What programs are found in that a command calls by name; its own variables may say otherwise. */
const PATH = '/usr/local/bin:/usr/bin:/bin';
/** Of the end of its output, in an error. */
const TAIL_CHARACTERS = 300;

/**
 * Adapter: a program on this machine, called without a shell by what the configuration lists, with an environment that
 * says what the step is (`TANDEM_KEY`, `TANDEM_EPOCH` …) and is otherwise empty but for PATH and what the entry names. It
 * runs in a process group of its own, under a supervisor that ends the group with the worker. What leaves its group on
 * purpose (setsid) is its author's.
 */
export function commandEffect(settings: SiteSettings): OutsideEffect {
  const entry = (name: string): CommandSettings => listed('command', settings.commands, name, settings.site);
  return {
    limitMs: (name) => entry(name).timeoutMs,
    async perform(name, call, limits) {
      const command = entry(name);
      const end = await run(command, command.run, call, limits);
      if (end.how === 'exit' && end.code === 0)
        return { summary: `command ${name} ended with code 0`, facts: { exitCode: 0, outputBytes: end.bytes } };
      throw whyNot(name, command, call, limits, end);
    },
    async check(name, call, limits) {
      const command = entry(name);
      if (command.check === null) return { seen: true, summary: `command ${name}: nothing here can see it` };
      const end = await run(command, command.check, call, limits);
      return {
        seen: end.how === 'exit' && end.code === 0,
        summary: `check of ${name} ${howItEnded(command, limits, end)}`,
      };
    },
  };
}

function run(
  { environment, outputBytes }: CommandSettings,
  argv: readonly string[],
  call: OutsideCall,
  { limitMs, signal }: OutsideLimits,
): Promise<CommandEnd> {
  const passed = environment.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const told = Object.entries(call).map(([name, value]) => [`TANDEM_${name.toUpperCase()}`, String(value)] as const);
  const all = Object.fromEntries([['PATH', PATH], ...passed, ...told] as const);
  return supervise({ argv, environment: all, limitMs, outputBytes }, signal);
}

function whyNot(
  name: string,
  command: CommandSettings,
  call: OutsideCall,
  limits: OutsideLimits,
  end: CommandEnd,
): Error {
  const text = `command ${name}: ${howItEnded(command, limits, end)}`;
  if (end.how === 'exit' && end.code === STALE_EPOCH)
    return failure('epoch-superseded', `${text}: a newer epoch is known there; this move offers ${call.epoch}`);
  const again = end.how === 'limit' || end.how === 'cancel' || (end.how === 'exit' && end.code === TRY_AGAIN);
  return failure(again ? 'command-failed' : 'command-refused', `${text}${printable(end.tail)}`);
}

function howItEnded({ outputBytes }: CommandSettings, { limitMs }: OutsideLimits, end: CommandEnd): string {
  switch (end.how) {
    case 'exit':
      return end.code === null ? `was ended by ${end.signal}` : `ended with code ${end.code}`;
    case 'limit':
      return `was ended after ${limitMs} ms`;
    case 'output':
      return `was ended after it printed more than ${outputBytes} bytes`;
    case 'cancel':
      return 'was ended from outside';
    case 'unstarted':
      return 'cannot be started';
    default:
      return end.how satisfies never;
  }
}

/** The end of what it printed, on one line and without what a terminal would obey. */
function printable(tail: string): string {
  const line = tail
    .replaceAll(/[^\p{L}\p{M}\p{N}\p{P}\p{S}\p{Zs}]+/gu, ' ')
    .replaceAll(/ {2,}/g, ' ')
    .trim();
  return line === '' ? '' : `: ${line.slice(-TAIL_CHARACTERS)}`;
}
