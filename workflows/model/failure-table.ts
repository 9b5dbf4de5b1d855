/**
 * Every way in which Tandem says no, or gives up: whether trying the same again can help, and what the operator does
 * next. Activities and workflows throw nothing else, so that one word is found in the history, the log and the metric. Every
 * kind of move throws them: a command of one kind stands only where no other kind can fail so; else the verb alone is named, and
 * the move's own `Next:` has it whole.
 */
export const failures = {
  'input-invalid': { retry: false, try: 'Correct the input and start again.' },
  'runbook-invalid': { retry: false, try: 'Correct the runbook at the lines named, at both sites; then start again.' },
  'act-missing': { retry: false, try: 'Take the step out, or do it by a call-http or run-command of your own.' },
  'not-configured': {
    retry: false,
    try: 'List it in the configuration of this site and start its worker again, or correct the runbook; then retry the step.',
  },
  'parity-drift': {
    retry: false,
    try: 'Start the worker of this site again: it writes what is configured, and the service obeys within 2 s; then retry the step.',
  },
  'archiving-off': {
    retry: false,
    try: 'Correct mod_mam and mod_tandem_archive in ejabberd.yml of this site (ops/ARCHIVING.md), start it again, then retry the step.',
  },
  'archive-unfit': { retry: false, try: 'Correct the destination’s archive by ops/ARCHIVING.md; then retry the step.' },
  'archive-slow': { retry: false, try: 'Retry the step: it goes on where it is; skipped, the rest stays behind.' },
  'attempt-running': {
    retry: true,
    try: 'Nothing to do: an earlier attempt of this step is coming to its end, and the next one follows it.',
  },
  'request-failed': {
    retry: true,
    try: 'Look at the service that is asked, and at the way to it; each attempt asks with the same key.',
  },
  'request-refused': {
    retry: false,
    try: 'Read the status at the service that refused; then retry the step, or say `done` when it was done by hand.',
  },
  'command-failed': { retry: true, try: 'Look at what the command needs; each attempt is given the same key.' },
  'command-refused': {
    retry: false,
    try: 'Read what the command printed; then retry the step, or say `done` when it was done by hand.',
  },
  'journal-broken': {
    retry: false,
    try: 'Lines of the journal were changed or removed: keep this database as it is, and read it with a second person.',
  },
  'report-unwritable': {
    retry: true,
    try: 'Make room in the folder of reports of this site, or give the worker rights to it.',
  },
  'unknown-customer': { retry: false, try: '`tandem config check` lists the customers of this site.' },
  'wrong-direction': {
    retry: false,
    try: 'Correct `from` and `to`: a failover runs at the peer of the site that is lost, a planned move at the site where its users are now.',
  },
  'move-running': {
    retry: false,
    try: '`tandem status` shows the move that holds the slot of this customer, and what comes next in it.',
  },
  'move-taken-over': {
    retry: false,
    try: 'Nothing to do: another run goes on with this move; `tandem status` shows it.',
  },
  'move-ended': { retry: false, try: 'Read how it ended (`report`); then start a new one.' },
  'source-serves': { retry: false, try: 'A site that answers is moved by a relocate, not by a failover.' },
  'world-worse': { retry: false, try: 'Read the new plan (`watch`); then approve it, or abort.' },
  'isolation-unknown': {
    retry: false,
    try: 'Abort, then start again with `isolation`: how the lost site was cut off, by whom, when.',
  },
  'epoch-superseded': {
    retry: false,
    try: '`tandem status` shows the move that holds the newer epoch; this one must not go on.',
  },
  forked: { retry: false, try: '`tandem status` shows both lines; `tandem site pick` says which of them stands.' },
  'already-served': {
    retry: false,
    try: 'Nothing is to be moved or turned back any more: `tandem status` shows who is served where. Let a move that runs come to its end; users go home by a planned move.',
  },
  'salvage-due': {
    retry: false,
    try: 'Nothing is lost: the next run of `standby` at this site salvages first. When that failed, its failure says why.',
  },
  'epoch-taken': { retry: false, try: 'Start again: the next free epoch is read anew.' },
  'no-recovery-point': { retry: false, try: '`tandem snapshot list --site SITE` shows what a vault holds.' },
  'snapshot-damaged': {
    retry: false,
    try: 'Choose an older recovery point, or mend the vault: `tandem snapshot list`.',
  },
  'snapshot-format': { retry: false, try: 'Update Tandem at this site: the snapshot was made by a newer version.' },
  'snapshot-superseded': {
    retry: true,
    try: 'Nothing to do: another run has written this number; the next attempt takes the next one.',
  },
  'snapshot-running': {
    retry: true,
    try: 'Nothing to do: another snapshot of this customer is being taken; this one follows it.',
  },
  'serves-nobody': {
    retry: false,
    try: 'Nothing to do while the users are served elsewhere: that site protects them. `tandem status` shows where.',
  },
  'mover-died': { retry: true, try: 'Look at memory and log of this machine: the data mover was ended, or ran out.' },
  'probe-died': {
    retry: true,
    try: 'Look at the memory and the log of this machine: the process of the clients was ended from outside, or ran out.',
  },
  'worker-ends': { retry: true, try: 'Nothing to do: the next worker of this site goes on with it.' },
  'snapshot-too-slow': {
    retry: true,
    try: 'Look at the vault and at the disks: the read transaction is ended so that it cannot hold back vacuum.',
  },
  'pull-too-slow': {
    retry: true,
    try: 'Nothing is lost: the next run goes on. If it stays so, raise `snapshots.pull-limit` or look at the link.',
  },
  'key-missing': { retry: false, try: 'Add the key to the ring of this customer, in the configuration of this site.' },
  'key-wrong': {
    retry: false,
    try: 'Compare the key of this id at both sites and in the escrow: `tandem keys verify` and `keys list`.',
  },
  'signature-invalid': { retry: false, try: 'Compare the public keys of the sites in both configurations.' },
  'vault-unreachable': { retry: true, try: 'Look at the vault and at its credentials: `tandem status`.' },
  'vault-refused': { retry: false, try: 'Look at the rights of the credentials, and at the policy of the bucket.' },
  'vault-unsafe': {
    retry: false,
    try: 'Turn versions on for this bucket, at a server that has them and honours If-None-Match: else nothing in it is safe.',
  },
  'database-unreachable': { retry: true, try: 'Look at the database and at its address in the configuration.' },
  'database-refused': {
    retry: false,
    try: 'Look at the role, the password and the database in this address, and at the rights of that role there.',
  },
  'database-damaged': {
    retry: true,
    try: 'Read the log of this database server, and look at its disk and memory; `select pg_filenode_relation(0, N)` names the table of a file `base/…/N`. Put the database back to its own backup or replica; never have it zero damaged pages: rows would be gone as if people had removed them.',
  },
  'database-wrong': {
    retry: false,
    try: 'This database belongs to another site or customer: correct its address in the configuration.',
  },
  'service-disobeys': {
    retry: true,
    try: 'Read the log of the service at this site: what it takes to be true differs from `tandem.serving`; then retry the step.',
  },
  'site-closed': {
    retry: false,
    try: '`tandem site status --site SITE` says why, and what opens it; then retry the step.',
  },
  'handed-over': {
    retry: true,
    try: 'There is no way back: the half is the destination’s. Look at its database, then retry the step; it also reads by itself that the half is its own.',
  },
  'destination-unreachable': { retry: true, try: 'Look at the database of the destination, and at the way to it.' },
  'not-drained-yet': {
    retry: true,
    try: 'Find the transaction that goes on writing in this site’s database (`pg_stat_activity`), and end it; then retry the step.',
  },
  'not-drained': {
    retry: false,
    try: 'Its drain is gone, or writes of before it go on: turn the move back (`turn-back`), and start a new one.',
  },
  'destination-behind': {
    retry: true,
    try: 'Look at the worker of the destination, which is to obey, and at its newest run of `standby`, in Temporal’s UI there: it says what keeps the copy. Then retry the step.',
  },
  'cohorts-differ': { retry: true, try: '`tandem cohort list`, where the half is served, shows what is not the same.' },
  'rehome-refused': { retry: false, try: 'Its users are served as before. Mend what is named, then retry the step.' },
  'not-covered': { retry: true, try: '`tandem status` shows the copies: see why this one does not come, then retry.' },
  'clock-wrong': {
    retry: true,
    try: 'Set the clocks of this machine and of the database, vault or name server by the same source of time.',
  },
  'source-unreachable': {
    retry: true,
    try: 'Nothing to do: no step waits on a site that is silent beyond its time limit.',
  },
  'verification-failed': {
    retry: true,
    try: 'Read the differences in the journal; then retry the step, or leave it to a second person.',
  },
  'restore-differs': {
    retry: false,
    try: 'Read the differences in the receipt; the snapshot or the restore is at fault.',
  },
  'customer-leaving': { retry: false, try: 'Two operators take it back: `tandem customer retire ID --take-back`.' },
  'customer-refused': { retry: false, try: 'Correct `customers` in tandem.yaml: `tandem config check`.' },
  'test-blackout': { retry: false, try: 'Wait, or give your reason: `tandem test start --despite-blackout BECAUSE`.' },
  'test-running': { retry: false, try: '`tandem test list` shows the test that runs; `tandem test abort` ends it.' },
  'cohort-unfit': { retry: false, try: '`tandem cohort list` shows what there is; mend what is named, start again.' },
  'test-failed': { retry: false, try: '`tandem test report` says what was found: mend it, and hold the test again.' },
  'verb-refused': { retry: false, try: 'Read how it stands now, then sign again.' },
  'channel-unreachable': {
    retry: true,
    try: 'Look at the other end of the channel, and at its entry under `sites.SITE.channels`: `tandem notify test`.',
  },
  'channel-refused': {
    retry: false,
    try: 'Look at the address, the credentials and the recipients of the channel: `tandem notify test`.',
  },
  'channel-unknown': {
    retry: false,
    try: 'Add the channel to this site in the configuration and start its worker again: `tandem config check`.',
  },
  'directory-unreachable': {
    retry: true,
    try: 'Look at the directory and at the way to it. The last good answer stays in force: `tandem directory show`.',
  },
  'directory-refused': {
    retry: false,
    try: 'Look at `customers.CUSTOMER.directory`: account, password, certificates, base; and at the rights in the directory.',
  },
  'directory-incomplete': {
    retry: true,
    try: 'Look at the limits and the state of the directory: half an answer is none. The last good one stays in force.',
  },
  'dns-unreachable': {
    retry: true,
    try: 'Look at the name server of `customers.CUSTOMER.dns.server`, and at the way to it over TCP; or change the records by hand and say `done`.',
  },
  'dns-key-refused': {
    retry: false,
    try: 'Compare name, algorithm and secret of this site’s key under `customers.CUSTOMER.dns.keys` with those of the name server; then retry the step.',
  },
  'dns-refused': {
    retry: false,
    try: 'Let the key change the records and `_epoch` at the name server (`update-policy`: ops/TRAFFIC.md); then retry the step.',
  },
  'dns-lame': {
    retry: false,
    try: 'Name the primary server of the zone in `customers.CUSTOMER.dns`, or load the zone there; then retry the step.',
  },
  'dns-unproven': {
    retry: true,
    try: 'Nothing that was answered is believed: look who answers at the address of the name server, and whether it knows the key.',
  },
  'dns-slow': {
    retry: false,
    try: 'Give the record a ttl of at most 60 s at the name server, now: after a loss it is too late.',
  },
  'proxy-unreachable': {
    retry: true,
    try: 'Look at HAProxy at this site, and whether the worker may open its socket `sites.SITE.proxy.socket`; or lead users by hand and say `done`.',
  },
  'proxy-refused': {
    retry: false,
    try: 'Compare `customers.CUSTOMER.proxy` with the names in HAProxy’s own configuration; its socket needs `level admin`. Then retry the step.',
  },
  'traffic-differs': {
    retry: true,
    try: 'Somebody else changes it, or it cannot be as it should: look at the records or servers that are named; then retry the step.',
  },
  'disk-full': { retry: true, try: 'Make room on the disk of the database or the vault.' },
} as const;

export type FailureKind = keyof typeof failures;
