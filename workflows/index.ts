/** The workflows, under the names that Temporal UI shows. */
export { continuityTest as 'continuity-test' } from './continuity-test.ts';
export { externalUpdate as 'external-update' } from './external-update.ts';
export { failover } from './failover.ts';
export { provisioning } from './provisioning.ts';
export { readiness } from './readiness.ts';
export { relocate } from './relocate.ts';
export { retention } from './retention.ts';
export { snapshot } from './snapshot.ts';
export { standby } from './standby.ts';
export { watch } from './watch.ts';
