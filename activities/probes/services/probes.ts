import { archiving } from './archiving.ts';
import { contacts } from './contacts.ts';
import { fileTransfer } from './file-transfer.ts';
import { instantMessaging } from './instant-messaging.ts';
import { known } from './known.ts';
import { mobile } from './mobile.ts';
import type { Facts, ProbeOrder } from './port.ts';
import { presence } from './presence.ts';
import { disabled, provisioned } from './provisioning.ts';
import { remoteAccess } from './remote-access.ts';
import type { ProbeRun } from './run.ts';
import { trustedFederation } from './trusted-federation.ts';
import { webAccess } from './web-access.ts';

/** What a probe does as a client, by its service. Throws what was not met. */
export const probes: Record<ProbeOrder['what'], (run: ProbeRun) => Promise<Facts>> = {
  contacts,
  'instant-messaging': instantMessaging,
  presence,
  'remote-access': remoteAccess,
  // Media take long to load, and nobody else needs them.
  'audio-video': async (run) => (await import('./audio-video.ts')).audioVideo(run),
  'file-transfer': fileTransfer,
  mobile,
  'web-access': webAccess,
  'trusted-federation': trustedFederation,
  archiving,
  provisioned,
  disabled,
  known,
};
