import type { Client } from '@temporalio/client';
import type { SiteSettings } from '../../../activities/settings.ts';
import type { Stack } from '../stack.ts';
import type { SeenService } from './users.ts';

/** What the story is told with. */

export const stages = [
  'setup',
  'sites-up',
  'users-created',
  'covered',
  'changed',
  'site-lost',
  'declared',
  'approved',
  'fenced',
  'restored',
  'serving',
  'signed-in-again',
  'verified',
  'closed',
  'services',
  'test-passed',
  'changed-since',
  'returned',
  'salvaged',
  'peer-again',
  'failed-back',
] as const;
export type Stage = (typeof stages)[number];

/** What is measured at a stage; of `services`, what each probe saw. */
export type Facts = Record<string, string | number | boolean | readonly SeenService[]>;

export interface DemoOptions {
  folder: string;
  users: number;
  seed: string;
  tell: (stage: Stage, facts: Facts) => void;
  say: (line: string) => void;
  signal: AbortSignal;
}

export const LOST = 'east';
export const SURVIVOR = 'west';

export interface Scene {
  options: DemoOptions;
  stack: Stack;
  customer: string;
  settings: SiteSettings;
  client: (site: string) => Promise<Client>;
  /** Of a site that is gone: the next call is made anew. */
  hangUp: (site: string) => Promise<void>;
}

export function urlOf({ stack }: Scene, site: string): string {
  return stack.sites[site]?.databaseUrl ?? '';
}
