import { generateKeyPairSync } from 'node:crypto';
import { commandEffect } from '../../activities/services/command.ts';
import { httpEffect } from '../../activities/services/http.ts';
import type { OutsideCall } from '../../activities/services/port.ts';
import type { CommandSettings, RequestSettings, SiteSettings } from '../../activities/settings.ts';

/** What a process is told that asks for an effect outside, and is killed while that is under way. */
export interface Doom {
  name: string;
  call: OutsideCall;
  requests: [string, RequestSettings][];
  commands: [string, CommandSettings][];
}

const { name, call, requests, commands } = JSON.parse(process.argv[2] ?? '') as Doom;
const settings = {
  site: 'west',
  signingKey: generateKeyPairSync('ed25519').privateKey,
  requests: new Map(requests),
  commands: new Map(commands),
} as unknown as SiteSettings;
const effect = call.act === 'call-http' ? httpEffect(settings) : commandEffect(settings);
await effect.perform(name, call, { limitMs: effect.limitMs(name), signal: new AbortController().signal });
